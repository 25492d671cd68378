"""The verbs: each makes one run over some hosts and returns its report."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from lab import events
from lab.abilities import Described
from lab.config import Inventory
from lab.engine.approval import Approval, Key
from lab.engine.asked import asked_for
from lab.engine.digests import Digests, plan_digest
from lab.engine.protocol import Options
from lab.engine.proven import captured_at
from lab.engine.schedule import each
from lab.engine.unused import plan_unused, prune_unused
from lab.engine.waiting import waiting_for
from lab.engine.walk import Walk
from lab.errors import LabError
from lab.journal import Journal, Look, Owned, Waiting, commit_of, locked
from lab.layer import Driver, Layer, Target, Workspace
from lab.lazy import Lazy
from lab.model.applied import Applied
from lab.model.host import Host
from lab.model.outcome import Failure, PartReport, RunReport
from lab.model.plan import Change
from lab.model.undeclared import score

if TYPE_CHECKING:
    from lab.engine import survey as surveys
    from lab.engine.survey import SurveyReport, SurveyWalk
else:
    surveys = Lazy("lab.engine.survey")

JOBS = 16


class Engine:
    """plan, verify, converge, destroy over one loaded lab. Holds no state between runs."""

    def __init__(
        self,
        inventory: Inventory,
        layers: Sequence[Layer],
        workspace: Workspace,
        journal: Journal,
    ) -> None:
        self.inventory = inventory
        self.layers = tuple(layers)
        self.workspace = workspace
        self.journal = journal

    def plan(
        self,
        hosts: Sequence[Host],
        options: Options,
        listen: events.Listener = events.ignore,
        *,
        verb: str = "plan",
        jobs: int = JOBS,
    ) -> RunReport:
        """What converge would do. Changes nothing anywhere, takes no lock.

        Of a ``verify`` the journal keeps what was seen, so that drift is known without looking.
        """
        run = _Run(self, verb, hosts, options, Approval(), listen)

        def work(host: Host, failed: tuple[str, ...]) -> Walk:  # noqa: ARG001 (plans do not wait)
            walk = Walk(run, host)
            walk.plan()
            return walk

        with run.told():
            walks = each([replace(h, after=()) for h in hosts], work, _is_good, jobs)
            run.take(walks)
            run.parts += plan_unused(run, leaving=_leaving(run.parts))
            if verb == "verify" and not self.workspace.cancelled.is_set():
                self._keep_looks(run)
        return run.report()

    def _keep_looks(self, run: _Run) -> None:
        """Of the declared hosts; a journal that cannot be written is told, the answer counts."""
        digests, now, looks = Digests(self.layers), time.time(), []
        for p in run.parts:
            host = self.inventory.hosts.get(p.host)
            if host is not None:
                spec, count = digests.of(host, p.layer), len(p.plan.changes)
                looks.append(Look(p.host, p.layer, p.part, now, p.outcome.value, count, spec, now))
        try:
            self.journal.keep_looks(looks)
        except LabError as error:
            run.emit(events.Notice(time.time(), error.message))

    def survey(
        self, hosts: Sequence[Host], listen: events.Listener = events.ignore, *, jobs: int = JOBS
    ) -> SurveyReport:
        """What is on the hosts and in no file. Changes nothing there; the journal keeps the scores.

        Takes no lock: whoever works on a host meanwhile may be seen half-way.
        """
        options = Options(len(self.layers) - 1)
        run = _Run(self, "entropy", hosts, options, Approval(), listen)

        def work(host: Host, failed: tuple[str, ...]) -> SurveyWalk:  # noqa: ARG001
            walk = surveys.SurveyWalk(run, host)
            walk.survey()
            return walk

        with run.told():
            walks = each([replace(h, after=()) for h in hosts], work, _is_good, jobs)
            run.take(walks)
        seen = {name: w.found for name, w in walks.items() if w.looked and not w.stopped}
        found, unused = surveys.accepted(hosts, seen, self.inventory.accepted)
        for host, things in found.items():
            self.journal.keep_score(host, score(things), sum(not t.accepted for t in things))
        absent = tuple(name for name, w in walks.items() if w.absent)
        return surveys.SurveyReport(run.report(), found, absent, unused)

    def describe(
        self, host: Host, listen: events.Listener = events.ignore
    ) -> tuple[RunReport, tuple[Described, ...]]:
        """What a machine is like, layer by layer, as personas would declare it. Changes nothing."""
        run = _Run(self, "adopt", [host], Options(len(self.layers) - 1), Approval(), listen)
        walk = surveys.SurveyWalk(run, host)
        with run.told():
            walk.describe()
            run.take({host.name: walk})
        return run.report(), walk.described

    def converge(
        self,
        hosts: Sequence[Host],
        options: Options,
        approval: Approval,
        listen: events.Listener = events.ignore,
        *,
        jobs: int = JOBS,
        wait: bool = False,
    ) -> RunReport:
        """Bring the hosts to what is declared. Raises Locked before anything is touched.

        With ``wait`` it waits for whoever holds one of them, and tells the listener who does.
        """
        run = _Run(self, "converge", hosts, options, approval, listen, recording=True)

        def work(host: Host, failed: tuple[str, ...]) -> Walk:
            walk = Walk(run, host)
            if failed:
                what = f"waits for {', '.join(failed)}, which did not converge"
                walk.block(Failure("After", what))
            else:
                walk.converge()
            return walk

        waiting = waiting_for(run) if wait else None
        with self._locked(hosts, "converge", waiting), run.told():
            walks = each(hosts, work, _is_good, jobs)
            run.take(walks)
            if all(p.outcome.is_good for p in run.parts):
                run.parts += prune_unused(run)
        return run.report()

    def destroy(
        self,
        hosts: Sequence[Host],
        options: Options,
        approval: Approval,
        listen: events.Listener = events.ignore,
        *,
        only_plan: bool = False,
        jobs: int = JOBS,
    ) -> RunReport:
        """Delete what the layers made for these hosts; durable disks only ``with_data``."""
        run = _Run(self, "destroy", hosts, options, approval, listen, recording=not only_plan)
        going = frozenset(h.name for h in hosts)

        def work(host: Host, failed: tuple[str, ...]) -> Walk:  # noqa: ARG001
            walk = Walk(run, host)
            walk.destroy(only_plan=only_plan)
            return walk

        lock = nullcontext() if only_plan else self._locked(hosts, "destroy")
        with lock, run.told():
            walks = each([replace(h, after=()) for h in hosts], work, _is_good, jobs)
            run.take(walks)
            if only_plan:
                run.parts += plan_unused(run, leaving=going, destroying=going)
            elif all(p.outcome.is_good for p in run.parts):
                run.parts += prune_unused(run, destroying=going)
        return run.report()

    def prune(
        self,
        approval: Approval,
        listen: events.Listener = events.ignore,
        *,
        only_plan: bool = False,
    ) -> RunReport:
        """Delete what hosts share and none needs: also what other runs leave alone.

        Takes no lock of a host: what gets a user meanwhile is kept.
        """
        hosts, options = tuple(self.inventory.hosts.values()), Options(len(self.layers) - 1)
        run = _Run(self, "prune", hosts, options, approval, listen, recording=not only_plan)
        with run.told():
            chosen = plan_unused if only_plan else prune_unused
            run.parts += chosen(run, asked=True)
        return run.report()

    @contextmanager
    def _locked(
        self, hosts: Iterable[Host], verb: str, waiting: Waiting | None = None
    ) -> Iterator[None]:
        state = self.workspace.state
        with suppress(OSError):  # the locks in it say what is wrong
            state.mkdir(parents=True, exist_ok=True, mode=0o700)  # private, whatever the umask
        with locked(state / "locks", [h.name for h in hosts], verb, waiting):
            yield


class _Run:
    """One run: what its walks share. Safe to use from their threads."""

    def __init__(
        self,
        engine: Engine,
        verb: str,
        hosts: Sequence[Host],
        options: Options,
        approval: Approval,
        listen: events.Listener,
        *,
        recording: bool = False,
    ) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self.id = f"{stamp}-{uuid.uuid4().hex[:6]}"
        self.verb = verb
        self.hosts = tuple(hosts)
        self.options = options
        self.approval = approval
        self.layers = engine.layers
        self.workspace = engine.workspace
        self.commit = ""
        self.parts: list[PartReport] = []
        self._engine = engine
        self._journal = engine.journal if recording else None
        self._listen = listen
        self._handed: dict[str, dict[str, object]] = {}
        self._bugs: list[Exception] = []
        self._digests = Digests(engine.layers)
        self._started = time.monotonic()
        self._lock = threading.RLock()
        self._emitting = threading.Lock()
        self._drivers: dict[tuple[str, str], Driver[Any, Any, Any]] = {}
        self._turns: dict[str, threading.Lock] = {}
        self._makers: dict[str, dict[str, str]] = {}
        self._shared: dict[tuple[str, int], str | None] = {}
        self._made: set[str | None] = set()
        self._applied = engine.journal.applied() if recording else {}
        self._owned: dict[tuple[str, str], list[Owned]] = {}
        self._captured: dict[str, dict[str, float]] | None = None
        self._read_ledger()

    @contextmanager
    def told(self) -> Iterator[None]:
        """Begin and end of the run, in the journal and in the events."""
        names = tuple(h.name for h in self.hosts)
        layers = tuple(layer.name for layer in self.layers[: self.options.stop + 1])
        self._started = time.monotonic()
        if self._journal is not None:
            self._read_ledger()  # another run may have ended while the locks were waited for
            declared = self._engine.inventory
            commit = declared.commit or commit_of(declared.root)
            self.commit = commit or ""
            asked = asked_for(self.options, self.approval, self.layers)
            self._journal.begin_run(self.id, self.verb, names, commit, asked)
        self.emit(events.RunStarted(time.time(), self.id, self.verb, names, layers))
        try:
            yield
        finally:
            report = self._report()
            if self._journal is not None:
                plan = plan_digest({(p.host, p.layer, p.part): p.plan for p in report.parts})
                code, seconds = int(report.exit_code), report.seconds
                self._journal.end_run(self.id, code, seconds=seconds, plan=plan)
            self.emit(events.RunEnded(time.time(), report))
        if self._bugs:
            raise self._bugs[0]

    def _read_ledger(self) -> None:
        self._owned.clear()
        for thing in self._engine.journal.ledger():
            self._owned.setdefault((thing.host, thing.layer), []).append(thing)

    def report(self) -> RunReport:
        """The result of the run."""
        return self._report()

    def _report(self) -> RunReport:
        seconds = time.monotonic() - self._started
        return RunReport(self.verb, self.id, tuple(self.parts), self._handed, seconds)

    def take(self, walks: Mapping[str, Walk]) -> None:
        """The results of all hosts, in order."""
        for name, walk in walks.items():
            self.parts += walk.reports
            self._handed[name] = walk.handed

    # -- what walks use --------------------------------------------------------------------------

    def emit(self, event: events.Event) -> None:
        """Tell the listener, one event at a time; keep the record of parts."""
        if isinstance(event, events.PartEnded) and self._journal is not None:
            host = self._engine.inventory.hosts.get(event.report.host)
            spec = self._digests.of(host, event.report.layer) if host else ""
            self._journal.end_part(self.id, event.report, spec)
        with self._emitting:
            self._listen(event)

    def driver(self, layer: Layer, name: str) -> Driver[Any, Any, Any]:
        """The one instance of a driver."""
        with self._lock:
            key = (layer.name, name)
            if key not in self._drivers:
                self._drivers[key] = layer.drivers[name](self.workspace)
            return self._drivers[key]

    def turn(self, key: str | None) -> AbstractContextManager[Any]:
        """Hosts that share a thing take turns at it."""
        if key is None:
            return nullcontext()
        with self._lock:
            return self._turns.setdefault(key, threading.Lock())

    def made(self, key: str | None) -> None:
        """A host's turn at a shared thing has changed it."""
        if key is not None:
            with self._lock:
                self._made.add(key)

    def was_made(self, key: str | None) -> bool:
        """Whether another host of this run has made it: then the one that was to is not asked."""
        return key in self._made

    def maker(self, layer: Layer, host: Host, key: str | None) -> str:
        """Which host's plan counts for a shared thing: the first that is declared."""
        if key is None:
            return host.name
        with self._lock:
            if layer.name not in self._makers:
                makers: dict[str, str] = {}
                for other in self.hosts:
                    for shared in self.shared_of(layer, other):
                        makers.setdefault(shared, other.name)
                self._makers[layer.name] = makers
            return self._makers[layer.name].get(key, host.name)

    def was_used(self, layer: Layer, driver: str) -> bool:
        """Whether a driver was asked anything in this run."""
        return (layer.name, driver) in self._drivers

    def staying(self, destroying: frozenset[str]) -> list[Host]:
        """All declared hosts; in a destroy only those that exist and stay."""
        alive = {host for host, _ in self._owned} - destroying
        hosts = self._engine.inventory.hosts.values()
        return [h for h in hosts if not destroying or h.name in alive]

    def shared_of(self, layer: Layer, host: Host) -> list[str]:
        """The keys of what a host shares with others on a layer."""
        found: list[str] = []
        for part in host.parts.get(layer.name, ()):
            known = (layer.name, id(part.spec))
            if known not in self._shared:
                target = Target(host, part.spec, layer.inputs.model_validate({}), part.name)
                self._shared[known] = layer.shared(target)
            key = self._shared[known]
            if key is not None:
                found.append(key)
        return found

    def given(self, host: str) -> Mapping[str, object]:
        """Of each set of data when its newest good capture was taken; and all hosts of the run."""
        with self._lock:
            if self._captured is None:
                self._captured = captured_at(self._engine.journal)
            known = self._captured.get(host, {})
        return {"captured": known, "restoring": self.options.restoring, "hosts": self.hosts}

    def owned(self, host: str, layer: str) -> tuple[Owned, ...]:
        """The ledger's entries for one layer of a host."""
        return tuple(self._owned.get((host, layer), ()))

    def recorded(self, layer: Layer, spec: str) -> BaseModel:
        """A spec as the ledger holds it."""
        context = self._engine.inventory.context
        return layer.spec.model_validate_json(spec, context=context)

    def own(self, thing: Owned) -> None:
        """Enter it, if that says anything new."""
        if self._journal is not None and thing not in self.owned(thing.host, thing.layer):
            self._journal.own(thing)

    def disown(self, thing: Key) -> None:
        """Take it out of the ledger."""
        if self._journal is not None:
            self._journal.disown(*thing)

    def already_applied(self, host: str) -> str | None:
        """The commit that this host was last brought to."""
        known = self._applied.get(host)
        return known.commit if known else None

    def keep_applied(self, host: str, applied: Applied) -> None:
        """Record what it was brought to now."""
        if self._journal is not None:
            self._journal.keep_applied(host, applied)

    def forget_applied(self, host: str) -> None:
        """It is gone."""
        if self._journal is not None:
            self._journal.forget_applied(host)

    def begin_change(self, key: Key, change: Change) -> int:
        """Record a change before it is carried out."""
        if self._journal is None:
            return 0
        return self._journal.begin_change(self.id, key, change.action.value, change.what, change)

    def end_change(self, number: int, *, ok: bool, seconds: float) -> None:
        """Record its end."""
        if self._journal is not None:
            self._journal.end_change(number, ok=ok, seconds=seconds)

    def bug(self, error: Exception) -> None:
        """Keep it; it is raised when the run has ended."""
        with self._lock:
            self._bugs.append(error)


def _is_good(walk: Walk) -> bool:
    return not walk.stopped


def _leaving(parts: Sequence[PartReport]) -> frozenset[str]:
    """Hosts whose machine is about to be made anew, and so move to another template."""
    return frozenset(
        p.host for p in parts for c in p.plan.changes if c.action.value in {"replace", "delete"}
    )
