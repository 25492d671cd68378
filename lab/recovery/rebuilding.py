"""Rebuild: every gate passed, captured, verified, then host by host a new OS disk and the rest.

Nothing here does anything itself: each step is one of the engine's verbs, a capture or a restore,
and may be done twice. What is done is written down, so that the same command goes on after a crash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lab import events, faults
from lab.clients.shell import shells
from lab.engine import Approval, Engine
from lab.engine.protocol import Options
from lab.engine.proven import captured_at
from lab.errors import (
    DeadlineExceeded,
    Destructive,
    DriverError,
    Interrupted,
    LabError,
    PlanError,
    Protected,
    TransportError,
)
from lab.journal import Journal, locked
from lab.layer import Workspace
from lab.model import standing
from lab.model.host import Host
from lab.model.outcome import ExitCode, Outcome, RunReport
from lab.model.plan import Action
from lab.recovery import reach, stepping
from lab.recovery.captures import CaptureReport, Captures
from lab.recovery.identity import IDENTITY_SET
from lab.recovery.restores import Asked, RestoreReport, Restores
from lab.recovery.run import Part, SetRun
from lab.recovery.stepping import Steps

FOLDER = "rebuilds"
BEFORE = {
    "runway": "see that this machine can carry them, and have their templates ready",
    "capture": "capture what must not be lost, a last time",
    "verify": "read the newest good capture of every set back whole",
}
EACH = {
    "replace": "replace the OS disk; durable disks stay",
    "identity": "bring back what makes it itself",
    "system": "converge its operating system",
    "standing": "look at its data; restore what is not there",
    "workloads": "converge everything",
    "health": "see that nothing is left to do, and all is healthy",
}
AFTER = {"again": "capture again, from the new machines"}


@dataclass(frozen=True)
class Ask:
    """What a person agreed to.

    Attributes:
        lose: Sets, as ``host/set`` or by their bare names, that may be lost, or fall back to an
            older capture.
        confirmed: Hosts whose names were typed.
    """

    lose: frozenset[str] = frozenset()
    confirmed: frozenset[str] = frozenset()

    def accepts(self, host: str, data: str) -> bool:
        """Whether the loss of that set was typed out."""
        return bool({data, f"{host}/{data}"} & self.lose)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: of one host, or (``host`` empty) of all of them."""

    name: str
    host: str
    what: str
    done: float | None = None

    @property
    def key(self) -> str:
        """What the record calls it."""
        return f"{self.name} {self.host}".strip()


@dataclass(frozen=True)
class RebuildReport:
    """What came of it: the run as any other, and every step with its seconds (None: not done)."""

    run: RunReport
    steps: tuple[Step, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def verb(self) -> str:
        """The run's."""
        return self.run.verb


class Rebuilds:
    """The rebuilds of one loaded lab."""

    def __init__(
        self,
        captures: Captures,
        restores: Restores,
        engine: Engine,
        workspace: Workspace,
        journal: Journal,
    ) -> None:
        self._captures, self._restores, self._engine = captures, restores, engine
        self._workspace, self._journal = workspace, journal
        self._folder = workspace.state / FOLDER

    def plan(self, hosts: Sequence[Host]) -> tuple[Step, ...]:
        """Every step, those that an unfinished rebuild did with their seconds. Changes nothing."""
        record = stepping.unfinished(self._folder, (h.name for h in hosts))
        order = record.hosts if record else tuple(h.name for h in ordered(hosts))
        return steps_of(order, record.done if record else {})

    def carry_out(
        self, hosts: Sequence[Host], ask: Ask, *, listen: events.Listener = events.ignore
    ) -> RebuildReport:
        """Rebuild, or go on with it. Raises what refuses it; a step that fails is in the report."""
        order = ordered(hosts)
        names = [h.name for h in order]
        with locked(self._workspace.state / "locks", names, "rebuild", lent=True):
            record = self._begun(order, ask)
            run = SetRun(self._journal, "rebuild", order, listen)
            work = _Work(self, record, {h.name: h for h in order}, listen)
            with run.told(None):
                for step in steps_of(record.hosts, record.done):
                    if step.done is None and not work.step(run, step):
                        break
                else:
                    record.end(f"{int(record.begun)}-{'-'.join(names)[:80]}-done.json")
        steps = steps_of(record.hosts, record.done)
        return RebuildReport(run.report(), steps, dict(work.notes))

    def _begun(self, order: Sequence[Host], ask: Ask) -> Steps:
        """The record to go on with, or a new one, once nothing speaks against it."""
        names = tuple(h.name for h in order)
        found = stepping.unfinished(self._folder, names)
        if found is not None:
            if set(found.hosts) != set(names):
                hosts = " ".join(f"host={h}" for h in found.hosts)
                raise PlanError(
                    f"Unable to rebuild {names[0]}: a rebuild of {', '.join(found.hosts)} has not"
                    " ended.",
                    hint=f"lab rebuild {hosts}   (goes on with it)",
                )
            found.lose |= ask.lose
            return found
        for host in order:
            if host.protect:
                raise Protected(
                    f"Unable to rebuild {host.name}: it is protected.",
                    hint=f"take 'protect: true' out of {host.name}'s persona or host entry, on"
                    " purpose",
                )
        untyped = [n for n in names if n not in ask.confirmed]
        if untyped:
            raise Destructive(
                f"Unable to rebuild {untyped[0]}: its OS disk would be lost, and the name was not"
                " typed.",
                hint=f"add --confirm {untyped[0]}",
            )
        path = self._folder / f"{names[0]}.json"
        return Steps(path, names, time.time(), ask.lose, ask.confirmed)


class _Work:
    """One rebuild while it is carried out."""

    def __init__(
        self,
        owner: Rebuilds,
        record: Steps,
        hosts: Mapping[str, Host],
        listen: events.Listener,
    ) -> None:
        self._record, self._hosts, self._listen = record, hosts, listen
        self._captures = owner._captures  # noqa: SLF001 (one thing in two classes)
        self._restores = owner._restores  # noqa: SLF001
        self._engine = owner._engine  # noqa: SLF001
        self._workspace = owner._workspace  # noqa: SLF001
        self._ask = Ask(record.lose, record.confirmed)
        self._every = [hosts[name] for name in record.hosts]
        self.notes: dict[str, str] = {}

    def step(self, run: SetRun, step: Step) -> bool:
        """Do one; whether it went well. Only then it is written down."""
        host = step.host or "all"
        faults.point(f"rebuild.before_{step.name}")
        began = time.monotonic()
        work: Callable[..., None] = getattr(self, f"_{step.name}")
        ahead = (self._hosts[step.host],) if step.host else ()
        run.part(host, step.name, partial(self._told, step, work, ahead))
        last = next(p for p in run.report().parts if (p.host, p.part) == (host, step.name))
        if not last.outcome.is_good:
            return False
        faults.point(f"rebuild.after_{step.name}")
        self._record.finish(step.key, time.monotonic() - began)
        return True

    def _told(
        self, step: Step, work: Callable[..., None], ahead: tuple[Host, ...], part: Part
    ) -> None:
        part.tell(step.what)
        self._record.write()
        work(part, *ahead)
        part.outcome = Outcome.CHANGED

    # -- before anything is lost -------------------------------------------------------------------

    def _runway(self, part: Part) -> None:
        """The layers below the machines: whatever fails there fails before anything is lost."""
        machine = reach.machine_layer(self._engine.layers)
        self._converged(self._every, part, Options(machine - 1))
        report = self._engine.plan(self._every, Options(machine, renew=True), _tell(part))
        _require(report, "look at the machines", also_pending=True)
        layer = self._engine.layers[machine].name
        for host in self._every:
            changes = [
                c for p in report.parts if (p.host, p.layer) == (host.name, layer)
                for c in p.plan.changes
            ]  # fmt: skip
            if not any(c.action in {Action.REPLACE, Action.CREATE} for c in changes):
                raise PlanError(
                    f"Unable to rebuild {host.name}: this lab did not make that machine.",
                    hint=f"install it again, then: lab converge host={host.name}; lab restore",
                )
            handed = report.handed.get(host.name, {})
            self._record.known[f"host_key {host.name}"] = str(handed.get("host_key") or "")

    def _capture(self, part: Part) -> None:
        """A last time. What fails falls back to an older capture only where that was typed."""
        machines = reach.handed_by(self._engine, self._every, len(self._every))
        there = [h for h in self._every if _is_there(machines, h.name)]
        for host in self._every:
            if host not in there:
                self.notes[host.name] = "its machine is gone: the captures that there are count"
        if not there:
            return
        report = self._captures.take(there, listen=_tell(part))
        for failed in report.run.parts:
            if failed.failure is None or failed.host not in self._hosts:
                continue
            if self._kept(failed.host, failed.part) or self._ask.accepts(failed.host, failed.part):
                continue
            raise PlanError(
                f"Unable to rebuild {failed.host}: the last capture of {failed.part} is no success:"
                f" {failed.failure.message.rstrip('.')}.",
                hint="mend that; or accept what an older capture lacks:"
                f" --lose {failed.host}/{failed.part}",
            )

    def _kept(self, host: str, data: str) -> bool:
        """What makes a host itself is the lab's own where the lab made it: no reason to stop."""
        return data == IDENTITY_SET.name and bool(self._record.known.get(f"host_key {host}"))

    def _verify(self, part: Part) -> None:
        """Every set has a capture that was read back whole, now."""
        report: CaptureReport = self._captures.verify(self._every, listen=_tell(part))
        for failed in report.run.parts:
            if failed.failure is None or self._kept(failed.host, failed.part):
                continue
            if not self._ask.accepts(failed.host, failed.part):
                raise PlanError(
                    f"Unable to rebuild {failed.host}: no verified capture of {failed.part}:"
                    f" {failed.failure.message.rstrip('.')}.",
                    hint=f"lab capture host={failed.host}; or type out the loss:"
                    f" --lose {failed.host}/{failed.part}",
                )

    # -- host by host ------------------------------------------------------------------------------

    def _replace(self, part: Part, host: Host) -> None:
        machine = reach.machine_layer(self._engine.layers)
        key = f"replaced {host.name}"
        renew = not self._record.known.get(key)
        allowed = Approval(allow_destroy=True, confirmed=self._record.confirmed)
        options = Options(machine, renew=renew)
        report = self._engine.converge([host], options, allowed, _tell(part))
        if report.exit_code is not ExitCode.OK and self._only_boots(host, report):
            self._record.known[key] = "yes"
            self._record.write()
        _require(report, "converge")
        self._record.known[key] = "yes"
        self._workspace.resource(shells).close()  # sessions with the machine that was
        report = self._engine.plan([host], Options(machine))
        before = self._record.known.get(f"host_key {host.name}", "")
        now = str(report.handed[host.name].get("host_key") or "")
        if before and now != before:
            raise DriverError(
                f"Unable to rebuild {host.name}: its host key is another one now.",
                hint=f"lab captures list host=_lab   (the old one is in the lab's own capture:"
                f" {before[:40]}…)",
            )

    def _only_boots(self, host: Host, report: RunReport) -> bool:
        """Whether it was replaced, and only took too long to come up: then it is waited for."""
        if all(
            p.failure is None or p.failure.kind != DeadlineExceeded.__name__ for p in report.parts
        ):
            return False
        machine = reach.machine_layer(self._engine.layers)
        after = self._engine.plan([host], Options(machine))
        left = [c.action for p in after.parts for c in p.plan.changes]
        return bool(left) and set(left) == {Action.UPDATE}

    def _identity(self, part: Part, host: Host) -> None:
        if self._captures.listing().of(host.name, IDENTITY_SET.name, good=True):
            self._restored(host, (IDENTITY_SET.name,), part)

    def _system(self, part: Part, host: Host) -> None:
        last = len(self._engine.layers) - 1
        self._converged([host], part, Options(last - 1))

    def _standing(self, part: Part, host: Host) -> None:
        """Data that is not there comes back before anything could start on nothing."""
        machines = reach.handed_by(self._engine, [host], 1)
        shell = self._workspace.resource(shells).to(reach.endpoint_of(machines, host.name))
        known = captured_at(self._captures.journal).get(host.name, {})
        lacking: list[str] = []
        for one in self._captures.sets(host):
            paths = () if one == IDENTITY_SET else standing.path_of(one)
            if not paths:
                continue
            reply = shell.run(standing.look(paths), doing=f"look at {one.name}", deadline=120.0)
            why = standing.unproven(standing.seen(paths, reply.text), known.get(one.name))
            if why and one.name in known:
                self.notes[f"{host.name} {one.name}"] = f"restored: {why}"
                lacking.append(one.name)
        if lacking:
            self._restored(host, tuple(lacking), part)

    def _workloads(self, part: Part, host: Host) -> None:
        self._converged([host], part, Options(len(self._engine.layers) - 1))

    def _health(self, part: Part, host: Host) -> None:
        """The same question that ``lab verify`` asks: nothing is left to do."""
        options = Options(len(self._engine.layers) - 1)
        report = self._engine.plan([host], options, _tell(part), verb="verify")
        _require(report, f"see {host.name} healthy")

    # -- and again ---------------------------------------------------------------------------------

    def _again(self, part: Part) -> None:
        report = self._captures.take(self._every, listen=_tell(part))
        for failed in report.run.parts:
            if failed.failure is not None:
                raise DriverError(failed.failure.message, hint=failed.failure.hint)

    def _converged(
        self, hosts: Sequence[Host], part: Part, options: Options, approval: Approval | None = None
    ) -> None:
        report = self._engine.converge(hosts, options, approval or Approval(), _tell(part))
        _require(report, "converge")

    def _restored(self, host: Host, names: tuple[str, ...], part: Part) -> RestoreReport:
        allowed = Approval(confirmed=frozenset({host.name}))
        report = self._restores.carry_out([host], Asked(names), allowed, listen=_tell(part))
        _require(report.run, "restore")
        return report


def steps_of(hosts: Sequence[str], done: Mapping[str, float]) -> tuple[Step, ...]:
    """Every step in order, with the seconds of those that are done."""
    every = [Step(name, "", what) for name, what in BEFORE.items()]
    every += [Step(name, host, what) for host in hosts for name, what in EACH.items()]
    every += [Step(name, "", what) for name, what in AFTER.items()]
    return tuple(Step(s.name, s.host, s.what, done.get(s.key)) for s in every)


def ordered(hosts: Sequence[Host]) -> tuple[Host, ...]:
    """Each after those that its ``after:`` names, else as declared."""
    left, order = {h.name: h for h in hosts}, []
    while left:
        ready = next(h for h in left.values() if not set(h.after) & left.keys())
        order.append(left.pop(ready.name))
    return tuple(order)


def _is_there(machines: RunReport, host: str) -> bool:
    """Whether its machine runs. Raises where that is not known, or what is wrong is no loss."""
    try:
        reach.endpoint_of(machines, host)
    except TransportError:
        handed: Mapping[str, Any] = machines.handed.get(host, {})
        pending = [
            c for p in machines.parts if p.host == host for c in p.plan.changes
            if c.what == "machine" and c.action is Action.CREATE
        ]  # fmt: skip
        if pending or not handed:
            return False
        raise
    return True


def _require(report: RunReport, doing: str, *, also_pending: bool = False) -> None:
    """Raise the first failure of a run that had to go well."""
    good = {ExitCode.OK, *([ExitCode.PENDING] if also_pending else [])}
    if report.exit_code in good:
        return
    failure = next((p.failure for p in report.parts if p.failure is not None), None)
    kind: type[LabError] = Interrupted if report.exit_code is ExitCode.INTERRUPTED else DriverError
    if failure is None:
        left = [f"{c.action} {c.what}" for p in report.parts for c in p.plan.changes]
        raise kind(f"Unable to {doing}: still to do: {'; '.join(left[:3])}.", hint="lab plan")
    raise kind(failure.message, hint=failure.hint)


def _tell(part: Part) -> events.Listener:
    """What goes on inside is the progress of the step."""

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Progress):
            part.tell(f"{event.host}: {event.doing}", event.done, event.total)
        elif isinstance(event, events.PartStarted):
            part.tell(f"{event.host}: {event.layer} {event.part}".strip())

    return listen


__all__ = ["Ask", "RebuildReport", "Rebuilds", "Step", "ordered", "steps_of"]
