"""One lab that follows git on this machine: where things are, whose turn it is, what is next."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab import events
from lab.api import Approval, Lab, SavedPlan
from lab.api.places import workspace_of
from lab.errors import ConfigError, LabError, PlanError, Problem
from lab.gitops.dealing import Dealing, Verdict
from lab.gitops.git import Repository
from lab.gitops.notices import Notices
from lab.gitops.places import reveal
from lab.gitops.settings import Settings
from lab.gitops.steps import Begun, Ended, Refused, Tell
from lab.gitops.store import Request, State
from lab.gitops.store import Store as Requests
from lab.gitops.touched import digests_of
from lab.gitops.turns import holder, turn, unheard
from lab.journal import Journal, who
from lab.masking import mask
from lab.model.applied import Applied
from lab.secrets.store import Store

KEPT = 3
"""Checkouts of finished commits that are kept, so that nothing is read out twice."""


class Follower:
    """Everything that is done about commits. Raises LabError where nothing was installed.

    Attributes:
        name: The lab's.
        folder: Where all of it is kept on this machine.
        store: What arrived and what came of it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = folder_of(name)
        self.settings = Settings.read(self.folder, name)
        self.store = Requests(self.folder)
        self._lock = self.folder / "worker.lock"
        self._cancelled = threading.Event()
        self._lab: Lab | None = None
        self._notices = Notices(self.settings, name, self.reveal)
        self.repository = Repository(Path(self.settings.repository), self._cancelled)

    def cancel(self) -> None:
        """Ask what runs to stop; from any thread or a signal handler. It resumes later."""
        self._cancelled.set()
        if self._lab is not None:
            self._lab.cancel()

    def log(self, number: int) -> Path:
        """The file in which the words about a request are kept."""
        return self.folder / "logs" / f"{number}.log"

    def examine(self, commit: str, tell: Tell) -> bool:
        """Whether a commit may be pushed: signed where that is required, and valid as a whole."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        prefix = f"incoming-{os.getpid()}-"
        with tempfile.TemporaryDirectory(prefix=prefix, dir=self.folder) as name:
            root = Path(name) / "lab"
            try:
                self._check_signature(commit)
                self.repository.export(commit, root)
                with Lab.load(root) as lab:
                    self._check_name(lab)
            except LabError as error:
                tell(Refused(error, root))
                self.store.refuse(commit, who(), mask(error.message.splitlines()[0]))
                return False
        return True

    def receive(self, commit: str, before: str | None, by: str) -> int:
        """Queue a commit; returns its number. Every older one that still waits is superseded."""
        number = self.store.add(commit, before, by)
        self.log(number).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log(number).touch(mode=0o600)
        return number

    def again(self, by: str) -> int | None:
        """Queue the branch's newest commit once more, unless one is queued; ``None``: no commit."""
        newest = next(iter(self.store.requests(1)), None)
        if newest is not None and newest.state.is_open:
            return newest.id
        head = self.repository.head(self.settings.branch)
        before = newest.commit if newest else None
        return None if head is None else self.receive(head, before, by)

    def fetch(self) -> str:
        """The newest commit of the polled branch, fetched. Raises LabError."""
        if self.settings.url is None:
            raise LabError("Unable to fetch: this repository is pushed to, not polled.")
        Repository.create(Path(self.settings.repository), self.settings.branch)
        return self.repository.fetch(self.settings.url, self.settings.branch)

    def next(self) -> Request | None:
        """Take the newest request for :meth:`deal`; inside :meth:`turn`."""
        return self.store.next()

    @contextmanager
    def turn(self, waits: Callable[[str], None] = unheard) -> Iterator[None]:
        """Wait until no other process of this lab deals with a commit; the lock dies with us."""
        with turn(self._lock, waits):
            self._tidy()
            yield

    def holder(self) -> str | None:
        """Who deals with a commit now; ``None`` = nobody."""
        return holder(self._lock)

    def applied(self) -> dict[str, Applied]:
        """What every host was last brought to as a whole, by whichever run."""
        journal = Journal(self.folder.parent)
        try:
            return journal.applied()
        finally:
            journal.close()

    def reveal(self, place: str) -> str:
        """The value at a place; ``secret:NAME`` is one of the lab's own. Raises LabError.

        Taken from the newest commit that may be used and has it.
        """
        kind, _, name = place.partition(":")
        if kind != "secret":
            return reveal(place)
        failure = LabError(
            f"Unable to use the secret {name}: no commit of the lab {self.name} is here yet.",
            hint=f"lab secrets set {name}; then commit, and push",
        )
        recent = [r.commit for r in self.store.requests(KEPT) if r.state is not State.REFUSED]
        head = self.repository.head(self.settings.branch)
        for commit in dict.fromkeys([*recent, *([head] if head else [])]):
            try:
                self._check_signature(commit)
                return Store(self._exported(commit), self.name).reveal(name)
            except LabError as error:
                failure = error
        raise failure

    def deal(self, request: Request, tell: Tell) -> State:
        """Plan and converge what a commit touches, as the settings allow; inside :meth:`turn`.

        A run that was asked to stop leaves the request open: the next :meth:`next` takes it again.
        """
        try:
            verdict = self._deal(request, tell)
        except ConfigError as error:
            tell(Refused(error, self._checkout(request.commit)))
            verdict = Verdict(State.REFUSED, "its files are wrong")
        except LabError as error:
            tell(Refused(error))
            verdict = Verdict(State.FAILED, error.message)
        except Exception:
            self.store.end(request.id, State.FAILED, (), "a mistake in Strata")
            raise
        return self._end(request, verdict, tell)

    def waiting(self, number: int) -> tuple[Request, SavedPlan]:
        """A request that waits for approval, and its plan. Raises PlanError where it does not."""
        request = self.store.request(number)
        if request is None or request.state is not State.WAITING:
            how = "is not known" if request is None else f"is {request.state}"
            said = f" ({request.said})" if request is not None and request.said else ""
            raise PlanError(
                f"Unable to approve {number}: it {how}{said}.", hint="lab gitops status"
            )
        return request, SavedPlan.read(self._plan_file(number))

    def approve(self, number: int, approval: Approval, tell: Tell) -> State:
        """Apply exactly the plan that waits; inside :meth:`turn`."""
        request, saved = self.waiting(number)
        with self.opened(request.commit) as lab:
            dealing = Dealing(lab, request, self.settings, self.store, tell)
            verdict = dealing.apply(saved, approval)
        return self._end(request, verdict, tell)

    @contextmanager
    def opened(self, commit: str) -> Iterator[Lab]:
        """The lab as that commit declares it. Raises ConfigError, LabError."""
        with Lab.load(
            self._exported(commit), commit=commit[:12]
        ) as lab:  # as long as the journal keeps them
            self._check_name(lab)
            self._lab = lab
            if self._cancelled.is_set():
                lab.cancel()
            try:
                yield lab
            finally:
                self._lab = None

    def _exported(self, commit: str) -> Path:
        """A folder with the files of that commit; for whoever has the turn."""
        root = self._checkout(commit)
        if not root.exists():
            new = root.with_name(f".{commit}.{os.getpid()}")
            shutil.rmtree(new, ignore_errors=True)
            self.repository.export(commit, new)
            new.rename(root)
        return root

    def _deal(self, request: Request, tell: Tell) -> Verdict:
        tell(Begun(request, self.repository.about(request.commit)))
        for older in self.store.superseded_by(request):
            self._post(self._notices.superseded(older), tell)
        self._post(self._notices.begun(request), tell)
        self._check_signature(request.commit)
        with self.opened(request.commit) as lab:
            dealing = Dealing(lab, request, self.settings, self.store, tell)
            if not self.store.settled() and not self.store.find(request.before or "-"):
                dealing.seed(self._declared_by(request.before))
            verdict = dealing.run()
        if verdict.saved is not None:
            self._plan_file(request.id).parent.mkdir(exist_ok=True, mode=0o700)
            verdict.saved.write(self._plan_file(request.id))
        return verdict

    def _end(self, request: Request, verdict: Verdict, tell: Tell) -> State:
        """Tell first: whoever follows the log stops reading once the end is recorded."""
        waiting = verdict.hosts if verdict.state is State.WAITING else ()
        tell(Ended(request, verdict.state, verdict.said, waiting))
        if verdict.state is not State.RUNNING:
            self.store.end(request.id, verdict.state, verdict.hosts, mask(verdict.said))
            self._post(self._notices.ended(request, verdict.state, verdict.said), tell)
        return verdict.state

    def _post(self, wrong: Iterator[str], tell: Tell) -> None:
        for text in wrong:
            tell(events.Notice(time.time(), text))

    def _declared_by(self, commit: str | None) -> dict[str, str]:
        """What an earlier commit declared for each host; nothing where it cannot be read."""
        if commit is None or self.repository.commit(commit) is None:
            return {}
        try:
            with self.opened(commit) as lab:
                return digests_of(lab.inventory.hosts.values())
        except LabError:
            return {}

    def _check_signature(self, commit: str) -> None:
        if self.settings.signers is not None:
            self.repository.verify(commit, Path(self.settings.signers))

    def _check_name(self, lab: Lab) -> None:
        if lab.name != self.name:
            what = (
                f"the lab's name is {lab.name!r}, and this repository is of the lab {self.name!r}"
            )
            raise ConfigError([Problem("lab.yaml:1:1", what)])

    def _checkout(self, commit: str) -> Path:
        return self.folder / "checkouts" / commit

    def _plan_file(self, number: int) -> Path:
        return self.folder / "waiting" / f"{number}.plan"

    def _tidy(self) -> None:
        """Remove what finished or dead processes left; never what somebody still waits for."""
        newest = self.store.requests(50)
        keep = {r.commit for r in newest[:KEPT]} | {t.commit for t in self.store.trials().values()}
        keep |= {r.commit for r in newest if r.state is State.WAITING or r.state.is_open}
        for path in (self.folder / "checkouts").glob("*"):
            if path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob("incoming-*"):
            if not _lives(path.name):
                shutil.rmtree(path, ignore_errors=True)
        waiting = {f"{r.id}.plan" for r in newest if r.state is State.WAITING}
        for path in (self.folder / "waiting").glob("*.plan"):
            if path.name not in waiting:
                path.unlink(missing_ok=True)


def folder_of(name: str) -> Path:
    """Where the following of a lab is kept. Creates nothing."""
    return workspace_of(name, Path.cwd()).state / "gitops"


def _lives(name: str) -> bool:
    match = re.match(r"incoming-(\d+)-", name)
    if match is None:
        return False
    with suppress(PermissionError):
        try:
            os.kill(int(match[1]), 0)
        except ProcessLookupError:
            return False
    return True
