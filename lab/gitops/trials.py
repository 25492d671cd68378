"""A branch on one host for a while: recorded before it begins, taken back unless it is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from lab import events
from lab.api import Approval, Lab, SavedPlan
from lab.errors import ConfigError, LabError, Problem
from lab.gitops.follower import Follower
from lab.gitops.git import check_branch
from lab.gitops.steps import Converged, Planned, Tell
from lab.gitops.store import Trial
from lab.gitops.touched import digests_of
from lab.model.outcome import RunReport

LONGEST = 7 * 86400
"""Seconds; a trial that would end later than this was recorded by a clock that was wrong."""


class Trials:
    """The trials of one followed lab. Everything belongs inside a turn."""

    def __init__(self, follower: Follower, tell: Tell) -> None:
        self._follower = follower
        self._tell = tell

    def commit_of(self, branch: str) -> str:
        """The newest commit of a branch, fetched where the remote is polled. Raises LabError."""
        follower = self._follower
        try:
            check_branch(branch)
        except ValueError as error:
            raise ConfigError([Problem("", str(error))]) from error
        if follower.settings.url is not None:
            follower.repository.fetch(follower.settings.url, branch)
        commit = follower.repository.head(branch)
        if commit is None:
            raise LabError(
                f"Unable to try {branch}: there is no such branch in {follower.repository.folder}.",
                hint=f"git push {follower.repository.folder} {branch}",
            )
        return commit

    def plan(self, commit: str, host: str) -> tuple[RunReport, SavedPlan]:
        """What the branch would change on that host."""
        with self._opened(commit) as lab:
            report = lab.plan(f"host={host}", on_event=self._tell)
            return report, _of_host(lab.saved(report, f"host={host}"), host)

    def begin(self, trial: Trial, saved: SavedPlan, approval: Approval) -> RunReport:
        """Apply exactly that plan; recorded first, so that a crash does not leave it for good."""
        self._follower.store.begin_trial(trial)
        self._follower.store.settle({trial.host: ""}, None)
        with self._opened(trial.commit) as lab:
            report = lab.apply(saved, approval=approval, on_event=self._tell)
        self._tell(Converged(report))
        return report

    def keep(self, host: str) -> Trial:
        """Leave the host as it is. The next push is compared with what it runs now."""
        trial = self._running(host)
        with self._opened(trial.commit) as lab:
            digest = digests_of([lab.inventory.hosts[host]])[host]
        self._follower.store.settle({host: digest}, None)
        self._follower.store.end_trial(host)
        return trial

    def revert(self, host: str) -> bool:
        """Take the host back to what was last applied; whether that worked.

        What would lose something is not done: the host stays owed, and the next push shows it.
        """
        self._running(host)
        commit = self._back_to(host)
        good = commit is not None and self._converge(commit, host)
        self._follower.store.end_trial(host)
        return good

    def end_due(self) -> None:
        """Take back every host whose time is over."""
        for trial in self.due():
            self._note(trial.host, f"the trial of {trial.branch} is over")
            try:
                self.revert(trial.host)
            except LabError as error:
                self._note(trial.host, error.message)

    def due(self) -> list[Trial]:
        """Trials whose time is over."""
        now = time.time()
        trials = self._follower.store.trials().values()
        return [t for t in trials if not now < t.until <= now + LONGEST]

    def _converge(self, commit: str, host: str) -> bool:
        with self._opened(commit) as lab:
            if host not in lab.inventory.hosts:
                self._note(
                    host,
                    "only the branch declares it; nothing of it was deleted"
                    f" (lab destroy host={host} does)",
                )
                self._follower.store.forget([host])
                return True
            digest = digests_of([lab.inventory.hosts[host]])[host]
            report = lab.plan(f"host={host}")
            self._tell(Planned(report))
            saved = _of_host(lab.saved(report, f"host={host}"), host)
            report = lab.apply(saved, approval=Approval(), on_event=self._tell)
        self._tell(Converged(report))
        if not all(p.outcome.is_good for p in report.parts):
            return False
        self._follower.store.settle({host: digest}, commit)
        return True

    def _back_to(self, host: str) -> str | None:
        follower = self._follower
        settled = follower.store.settled().get(host)
        known = settled.commit if settled else None
        if known is not None and follower.repository.commit(known) is not None:
            return known
        return follower.repository.head(follower.settings.branch)

    def _running(self, host: str) -> Trial:
        trial = self._follower.store.trials().get(host)
        if trial is None:
            raise LabError(
                f"Unable to go on: {host} tries no branch.", hint="lab try BRANCH host=NAME"
            )
        return trial

    @contextmanager
    def _opened(self, commit: str) -> Iterator[Lab]:
        with self._follower.opened(commit) as lab:
            yield lab

    def _note(self, host: str, text: str) -> None:
        self._tell(events.Notice(time.time(), text, host))


def _of_host(saved: SavedPlan, host: str) -> SavedPlan:
    """Only that host's own plans: what others share stays while a branch is tried."""
    return replace(saved, plans={k: p for k, p in saved.plans.items() if k[0] == host})
