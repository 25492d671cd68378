"""One commit, from the hosts it touches to what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from lab.api import Approval, Lab, SavedPlan
from lab.errors import Locked
from lab.gitops.settings import Mode, Settings
from lab.gitops.steps import Converged, Looked, Planned, Tell
from lab.gitops.store import Request, State, Store
from lab.gitops.touched import Touched, digests_of, touched
from lab.model.outcome import ExitCode, Outcome, RunReport

NAMED = 5
"""Up to this many hosts are named in a sentence."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a request ended, about which hosts, in a sentence; ``saved`` is what waits."""

    state: State
    said: str
    hosts: tuple[str, ...] = ()
    saved: SavedPlan | None = None


@dataclass(frozen=True, slots=True)
class Sorted:
    """Planned hosts by what may be done with them now."""

    clean: tuple[str, ...] = ()
    go: tuple[str, ...] = ()
    wait: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()


class Dealing:
    """The lab as one commit declares it, and what is known of its hosts."""

    def __init__(
        self, lab: Lab, request: Request, settings: Settings, store: Store, tell: Tell
    ) -> None:
        self._lab = lab
        self._request = request
        self._mode = settings.mode
        self._store = store
        self._tell = tell
        self._now = digests_of(lab.inventory.hosts.values())

    def seed(self, before: Mapping[str, str]) -> None:
        """Nothing is known yet: what the branch declared before counts as dealt with."""
        self._store.settle({h: d for h, d in before.items() if h in self._now}, None)

    def run(self) -> Verdict:
        """Plan the touched hosts, and do with them what the mode allows."""
        found = self._look()
        if not found.hosts:
            return Verdict(State.UNCHANGED, "it touches no host")
        words = [f"host={h}" for h in found.hosts]
        report = self._lab.plan(*words, on_event=self._tell)
        if report.exit_code == ExitCode.INTERRUPTED:
            return Verdict(State.RUNNING, "it was asked to stop", found.hosts)
        self._tell(Planned(report))
        parts = sort(report, self._lab, self._mode)
        self._settle(parts.clean, self._request.commit)
        if self._mode is Mode.PLAN:
            self._settle((*parts.go, *parts.wait), None)
            return self._verdict(parts, State.PLANNED, f"{_count(report.changes)} planned")
        if parts.clean:
            self._record(self._saved(report, parts.clean))
        done = Verdict(State.UNCHANGED, "every host is as declared already", found.hosts)
        if parts.go:
            done = self.apply(self._saved(report, parts.go), Approval())
            if done.state is State.RUNNING:
                return done
        if parts.wait:
            more = f"; {done.said}" if parts.go else ""
            said = f"{_names(parts.wait)} {_verb(parts.wait, 'waits')} for approval{more}"
            return Verdict(State.WAITING, said, parts.wait, self._saved(report, parts.wait))
        return self._verdict(parts, done.state, done.said)

    def apply(self, saved: SavedPlan, approval: Approval) -> Verdict:
        """Apply exactly that plan; what does not get through stays owed."""
        self._store.settle(dict.fromkeys(saved.hosts, ""), None)  # a half-done host is not settled
        try:
            report = self._lab.apply(saved, approval=approval, on_event=self._tell)
        except Locked as error:
            return Verdict(State.FAILED, error.message, saved.hosts)
        self._tell(Converged(report))
        failed = _bad(report)
        good = [h for h in saved.hosts if h not in failed]
        self._settle(good, self._request.commit)
        if any(p.outcome is Outcome.INTERRUPTED for p in report.parts):
            return Verdict(State.RUNNING, "it was asked to stop; it resumes", saved.hosts)
        changes = _count(sum(len(p.applied) for p in report.parts))
        if failed:
            bad = tuple(h for h in saved.hosts if h in failed) or ("shared things",)
            said = f"{changes} made; {_names(bad)} did not get through"
            return Verdict(State.FAILED, said, saved.hosts)
        return Verdict(State.APPLIED, f"{changes} made on {_names(good)}", saved.hosts)

    def _record(self, clean: SavedPlan) -> None:
        """Hosts that need nothing learn which commit they have; nothing else is done there."""
        with suppress(Locked):  # whoever works there records what it does
            report = self._lab.apply(clean, approval=Approval())
            self._store.settle(dict.fromkeys(_bad(report) & set(clean.hosts), ""), None)

    def _look(self) -> Touched:
        """The hosts to plan; what is no longer declared is told, and nothing is done to it."""
        before = {name: s.digest for name, s in self._store.settled().items()}
        found = touched(before, self._now)
        trials = self._store.trials()
        left = tuple(trials[h] for h in found.hosts if h in trials)
        existing = set(self._lab.undeclared())
        self._tell(Looked(found, left, tuple(h for h in found.removed if h in existing)))
        self._store.forget(found.removed)
        return replace(
            found,
            changed=tuple(h for h in found.changed if h not in trials),
            new=tuple(h for h in found.new if h not in trials),
        )

    def _saved(self, report: RunReport, hosts: tuple[str, ...]) -> SavedPlan:
        """The part of a plan that is about these hosts, and about what nobody needs any more."""
        saved = self._lab.saved(report, *(f"host={h}" for h in hosts))
        plans = {key: plan for key, plan in saved.plans.items() if key[0] in {"", *hosts}}
        return replace(saved, plans=plans)

    def _settle(self, hosts: Iterable[str], commit: str | None) -> None:
        self._store.settle({h: self._now[h] for h in hosts}, commit)

    def _verdict(self, parts: Sorted, state: State, said: str) -> Verdict:
        """The same, unless some hosts could not even be planned."""
        hosts = (*parts.clean, *parts.go, *parts.wait, *parts.bad)
        if not parts.bad:
            return Verdict(state, said, hosts)
        self._store.settle(dict.fromkeys(parts.bad, ""), None)
        return Verdict(State.FAILED, f"{_names(parts.bad)} could not be planned; {said}", hosts)


def sort(report: RunReport, lab: Lab, mode: Mode) -> Sorted:
    """What may be done with each planned host.

    What would lose something waits, in every mode, and so does every host that comes after it.
    """
    bad = _bad(report)
    pending = {p.host for p in report.parts if p.host and p.plan.changes} - bad
    losing = {p.host for p in report.parts for c in p.plan.changes if c.destroys} & pending
    wait = set(pending) if mode is Mode.ASK else losing
    grown = True
    while grown:
        more = {h for h in pending - wait if set(lab.inventory.hosts[h].after) & wait}
        wait |= more
        grown = bool(more)
    hosts = tuple(dict.fromkeys(p.host for p in report.parts if p.host))
    return Sorted(
        clean=tuple(h for h in hosts if h not in bad | pending),
        go=tuple(h for h in hosts if h in pending - wait),
        wait=tuple(h for h in hosts if h in wait),
        bad=tuple(h for h in hosts if h in bad),
    )


def _bad(report: RunReport) -> set[str]:
    return {p.host for p in report.parts if not p.outcome.is_good}


def _names(hosts: Iterable[str]) -> str:
    names = tuple(hosts)
    if len(names) > NAMED:
        return f"{len(names):,} hosts"
    return ", ".join(names)


def _verb(hosts: tuple[str, ...], verb: str) -> str:
    return verb if len(hosts) == 1 else verb.removesuffix("s")


def _count(changes: int) -> str:
    return f"{changes:,} change" + ("" if changes == 1 else "s")
