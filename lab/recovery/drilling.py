"""Drill: a throwaway twin out of the captures alone, in a sandbox that reaches nothing of the lab.

The twin is a lab of its own name, with a journal, keys and machines of its own; of the lab that is
drilled it uses the files, the secrets and the captures, and changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lab import events, faults
from lab.clients.shell import Endpoint, Shell, shells
from lab.engine import Approval, Engine
from lab.engine.protocol import Options
from lab.errors import DriverError, LabError, PlanError
from lab.journal import Journal, locked
from lab.layer import Workspace
from lab.model.dataset import DataSet
from lab.model.host import Host
from lab.model.outcome import ExitCode, Outcome, RunReport
from lab.model.recovered import DrillRecord
from lab.recovery import alone, onhost, reach, twins
from lab.recovery.captures import Captures
from lab.recovery.evidence import Evidence, Restored
from lab.recovery.identity import IDENTITY_SET
from lab.recovery.manifest import Taking, merkle_root
from lab.recovery.ready import Around, placed, require_ready
from lab.recovery.repository import Capture
from lab.recovery.restores import Asked, Restores
from lab.recovery.run import FLAGGED, Part, SetRun

FOLDER = "drills"


@dataclass(frozen=True)
class Twin:
    """A loaded throwaway lab. ``forget`` drops all that is kept of it on this machine."""

    host: Host
    engine: Engine
    workspace: Workspace
    journal: Journal
    forget: Callable[[], None]


Chosen = Sequence[tuple[DataSet, Capture]]
Load = Callable[[Path, str], AbstractContextManager[Twin]]
"""Load the files of a twin; the second is its host's name."""


@dataclass(frozen=True)
class DrillReport:
    """What came of it: the run as any other, and what each drill showed."""

    run: RunReport
    evidence: tuple[Evidence, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def verb(self) -> str:
        """The run's."""
        return self.run.verb


@dataclass
class _Facts:
    """What a drill gathers on its way."""

    at: float
    sandbox: str = ""
    steps: dict[str, float] = field(default_factory=dict)
    restored: list[Restored] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rto: float | None = None
    rpo: float | None = None


class Drills:
    """The drills of one loaded lab."""

    def __init__(
        self, captures: Captures, engine: Engine, workspace: Workspace, load: Load, sandbox: str
    ) -> None:
        self._captures, self._engine, self._journal = captures, engine, captures.journal
        self._workspace, self._load, self._sandbox = workspace, load, sandbox

    def carry_out(
        self, hosts: Sequence[Host], *, listen: events.Listener = events.ignore
    ) -> DrillReport:
        """Drill each host, one after the other; what is proved or not is in the report."""
        run = SetRun(self._journal, "drill", hosts, listen)
        found: list[tuple[Evidence, Path]] = []
        twin_locks = [twins.name_of(self._workspace.lab, h.name) for h in hosts]
        with locked(self._workspace.state / "locks", twin_locks, "drill"), run.told(None):
            for host in hosts:
                run.part(host.name, "drill", partial(self._drill, host, found))
        return DrillReport(run.report(), tuple(e for e, _ in found), tuple(p for _, p in found))

    def _drill(self, host: Host, found: list[tuple[Evidence, Path]], part: Part) -> None:
        facts, failure, error = _Facts(time.time()), "", None
        try:
            self._whole(host, facts, part)
        except LabError as raised:
            failure, error = raised.message, raised
        proved = error is None and not any(m.startswith("set ") for m in facts.missing)
        inventory = self._engine.inventory
        evidence = Evidence(
            lab=inventory.name,
            host=host.name,
            persona=host.persona,
            commit=inventory.commit or "",
            at=facts.at,
            proved=proved,
            steps=facts.steps,
            rto=facts.rto,
            rpo=facts.rpo,
            restored=tuple(facts.restored),
            missing=tuple(facts.missing),
            notes=tuple(facts.notes),
            failure=failure,
            sandbox=facts.sandbox,
            allowed={"rto": host.lifecycle.rto, "rpo": host.lifecycle.rpo},
        )
        path = evidence.write(self._workspace.state / FOLDER)
        self._journal.keep_drill(
            DrillRecord(
                host=host.name,
                at=facts.at,
                proved=proved,
                rto=facts.rto,
                rpo=facts.rpo,
                missing=len(facts.missing),
                evidence=str(path.relative_to(self._workspace.state)),
            )
        )
        found.append((evidence, path))
        if error is not None:
            raise error
        part.applied = (f"proved in {facts.rto or 0:.0f} s",)
        part.outcome = Outcome.CHANGED
        if not proved:
            part.flag(
                f"{host.name} is not proved: {facts.missing[0]}", f"lab capture host={host.name}"
            )

    def _whole(self, host: Host, facts: _Facts, part: Part) -> None:
        machine = self._engine.layers[reach.machine_layer(self._engine.layers)].name
        made = next(iter(host.parts.get(machine, ())), None)
        if (made.driver if made else "") in twins.NOT_MADE:
            raise PlanError(
                f"Unable to drill {host.name}: no lab makes such a machine, nor a twin.",
                hint="declare it as a machine that is made (image:, machine:), or restore beside:"
                f" lab restore host={host.name} to=/srv/look",
            )
        sandbox = twins.sandbox_for(host, made, self._sandbox)
        facts.sandbox = sandbox.kind
        chosen = self._chosen(host, facts)
        used = [c.at for _, c in chosen]
        facts.rpo = max(0.0, facts.at - min(used)) if used else None
        with self._step(facts, part, "look at what no capture covers"):
            self._survey(host, facts)
        name = twins.name_of(self._workspace.lab, host.name)
        folder = self._workspace.state / FOLDER / name
        with placed(self._engine, self._workspace, host, made, sandbox) as (where, around):
            twins.stage(self._engine.inventory.root, folder, name, host.name, where)
            with self._load(folder, host.name) as twin:
                self._cleared(twin, facts)  # what a drill that was killed left
                with self._step(facts, part, "look whether it can be"):
                    require_ready(twin.engine, twin.workspace, twin.host)
                self._carry(twin, around, chosen, facts, part)

    def _carry(
        self, twin: Twin, around: Around | None, chosen: Chosen, facts: _Facts, part: Part
    ) -> None:
        began = time.monotonic()
        try:
            self._build(twin, around, chosen, facts, part)
            facts.rto = round(time.monotonic() - began, 1)
            with self._step(facts, part, "compare with the manifests"):
                self._compare(twin, chosen, facts)
        finally:
            with self._step(facts, part, "destroy the twin"):
                self._cleared(twin, facts)

    def _build(
        self, twin: Twin, around: Around | None, chosen: Chosen, facts: _Facts, part: Part
    ) -> None:
        last = len(twin.engine.layers) - 1
        machine = reach.machine_layer(twin.engine.layers)
        with self._step(facts, part, "template"):
            self._converge(twin, part, machine - 1)
        with self._step(facts, part, "machine"):
            self._converge(twin, part, machine)
            faults.point("drill.machine")
        if around is not None:
            with self._step(facts, part, "see that it reaches nothing"):
                tries = around.prove(self._shell(twin), twin.host.name, self._endpoint(twin))
                facts.notes.append(f"its twin reached none of {tries} things that it tried")
                faults.point("drill.proved_alone")
        else:
            with self._step(facts, part, "cut it off from everything"):
                alone.cut(self._shell(twin))
        with self._step(facts, part, "system"):
            self._converge(twin, part, last - 1)
        with self._step(facts, part, "data"):
            self._restore(twin, chosen, facts, part)
            faults.point("drill.restored")
        with self._step(facts, part, "workloads"):
            self._converge(twin, part, last)
        with self._step(facts, part, "health"):
            report = twin.engine.plan([twin.host], Options(last), verb="verify")
            _require(report)

    def _restore(self, twin: Twin, chosen: Chosen, facts: _Facts, part: Part) -> None:
        restores = Restores(self._captures, twin.engine, twin.workspace, twin.journal)
        allowed = Approval(confirmed=frozenset({twin.host.name}))
        for one, capture in chosen:
            asked = Asked((one.name,), at=capture.snapshot)
            report = restores.carry_out([twin.host], asked, allowed, listen=_progress(part))
            _require(report.run)
            facts.restored.append(
                Restored(
                    data=one.name,
                    snapshot=capture.snapshot,
                    captured=capture.at,
                    files=capture.files,
                    size=capture.size,
                    root=capture.root,
                    compared="every file, before it took its place",
                )
            )

    def _compare(self, twin: Twin, chosen: Chosen, facts: _Facts) -> None:
        """Once more, where nobody writes to it: read as a capture would, root against root."""
        for n, (one, capture) in enumerate(chosen):
            if one.workload or one.dump or not one.paths:
                continue
            taking = Taking()
            self._shell(twin).run(
                onhost.files(one), doing=f"read {one.name}", deadline=3600.0, sink=taking.feed
            )
            taking.close()
            root = merkle_root(taking.entries)
            if root != capture.root:
                raise DriverError(
                    f"Unable to prove {one.name} of {twin.host.name}: what the twin holds is not"
                    f" what was captured ({root[:16]}, not {capture.root[:16]}).",
                    hint="the evidence in the state folder says what was done",
                )
            whole = facts.restored[n]
            facts.restored[n] = Restored(
                whole.data,
                whole.snapshot,
                whole.captured,
                whole.files,
                whole.size,
                whole.root,
                "every file, also after all was healthy",
            )

    def _chosen(self, host: Host, facts: _Facts) -> list[tuple[DataSet, Capture]]:
        """Each set's newest good capture; what has none is missing, and nothing is proved."""
        listing = self._captures.listing()
        chosen = []
        for one in self._captures.sets(host):
            capture = next(iter(listing.of(host.name, one.name, good=True)), None)
            if one == IDENTITY_SET:
                if capture is None:
                    facts.notes.append("its identity was never captured")
                continue  # a twin must never be taken for the host itself
            if capture is None:
                facts.missing.append(f"set {one.name}: it has no good capture")
            else:
                chosen.append((one, capture))
        return chosen

    def _survey(self, host: Host, facts: _Facts) -> None:
        """What is on the host and in no file: a rebuild would not bring it back."""
        report = self._engine.survey([host])
        things = report.found.get(host.name)
        if things is None:
            facts.notes.append("the host could not be looked at: what it has besides is not known")
            return
        facts.missing += [f"{t.sort} {t.name}" for t in things if not t.accepted]

    def _cleared(self, twin: Twin, facts: _Facts) -> None:
        last = len(twin.engine.layers) - 1
        allowed = Approval(allow_destroy=True, confirmed=frozenset({twin.host.name}))
        options = Options(last, with_data=True)
        report = twin.engine.destroy([twin.host], options, allowed)
        twin.workspace.close()
        if report.exit_code is ExitCode.OK:
            twin.forget()
        else:
            facts.notes.append(f"the twin could not be destroyed: lab {twin.workspace.lab}")

    def _converge(self, twin: Twin, part: Part, stop: int) -> None:
        _require(twin.engine.converge([twin.host], Options(stop), Approval(), _progress(part)))

    def _endpoint(self, twin: Twin) -> Endpoint:
        machines = reach.handed_by(twin.engine, [twin.host], 1)
        return reach.endpoint_of(machines, twin.host.name)

    def _shell(self, twin: Twin) -> Shell:
        return twin.workspace.resource(shells).to(self._endpoint(twin))

    @contextmanager
    def _step(self, facts: _Facts, part: Part, name: str) -> Iterator[None]:
        began = time.monotonic()
        part.tell(name)
        try:
            yield
        finally:
            facts.steps[name] = round(time.monotonic() - began, 2)


def _require(report: RunReport) -> None:
    if report.exit_code is ExitCode.OK:
        return
    failure = next((p.failure for p in report.parts if p.failure is not None), None)
    left = [f"{c.action} {c.what}" for p in report.parts for c in p.plan.changes]
    message = (
        failure.message if failure else f"Unable to drill: still to do: {'; '.join(left[:3])}."
    )
    raise DriverError(message, hint=failure.hint if failure else "")


def _progress(part: Part) -> events.Listener:
    def listen(event: events.Event) -> None:
        if isinstance(event, events.Progress):
            part.tell(event.doing, event.done, event.total)
        elif isinstance(event, events.PartStarted):
            part.tell(f"{event.layer} {event.part}".strip())

    return listen


__all__ = ["FLAGGED", "DrillReport", "Drills", "Load", "Twin"]
