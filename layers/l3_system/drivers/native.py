"""An operating system over one persistent shell: one round trip to look at everything."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Sequence

from lab.clients import shell
from lab.errors import DriverError, Locked, TransportError
from lab.layer import Target, Workspace
from lab.model.plan import Action, Change
from layers.l3_system.drivers.guarded import Trial
from layers.l3_system.kinds import guard
from layers.l3_system.kinds.kind import Kind, Section, Step
from layers.l3_system.kinds.lifeline import lifeline
from layers.l3_system.kinds.order import KINDS
from layers.l3_system.kinds.script import applying, ledger, probing, sections
from layers.l3_system.planner import Everything, login, wanted
from layers.l3_system.spec import Inputs, Observed, Spec

_BY_NAME: dict[str, Kind] = {kind.NAME: kind for kind in KINDS}
_VERBS = {
    Action.CREATE: "make",
    Action.UPDATE: "change",
    Action.DELETE: "remove",
    Action.REPLACE: "replace",
}
_OBSERVE_DEADLINE = 120.0
_LONGEST_TRIAL = 300.0
_NOTHING = "the answer of the host is cut short"


class NativeDriver:
    """Converges any Linux host that has a POSIX shell and a login that may become root."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def observe(self, target: Target[Spec, Inputs]) -> Observed:
        """Everything declared, and everything the ledger says is ours, in one round trip.

        While a change of another run is being tried there, nothing that is seen is settled: it is
        waited for, and looked again.
        """
        everything = wanted(target)
        target.report("looks at the system")
        ends = time.monotonic() + _LONGEST_TRIAL
        while (found := self._look(target, everything)).get("guard"):
            self._await_trial(target, found["guard"][-1], ends)
        owned = ledger([line for part in found.get("ledger", ()) for line in part.lines])
        things = {kind.NAME: kind.parse(found.get(kind.NAME, ())) for kind in KINDS}
        return Observed(things=things, owned=owned)

    def _look(
        self, target: Target[Spec, Inputs], everything: Everything
    ) -> dict[str, list[Section]]:
        """The answers to all probes, by their kind."""
        nonce = secrets.token_hex(12)
        probes = [guard.PROBE, *(kind.probe(everything[kind.NAME]) for kind in KINDS)]
        script = probing(nonce, probes)
        reply = self._shell(target).run(
            script, doing="look at the system", deadline=_OBSERVE_DEADLINE, check=False
        )
        found: dict[str, list[Section]] = {}
        for name, section in sections(nonce, reply.stdout):
            found.setdefault(name, []).append(section)
        if "lacks" in found:
            lacks = ", ".join(section.words[0] for section in found["lacks"])
            raise DriverError(
                f"Unable to look at the system on {target.host.name}: it has no {lacks}.",
                hint="install coreutils, grep, sed and awk there, or busybox",
            )
        if "end" not in found:
            lines = reply.lines
            raise DriverError(
                f"Unable to look at the system on {target.host.name}: "
                f"{lines[-1].rstrip('.') if lines else _NOTHING}.",
                status=reply.status,
                lines=lines,
            )
        return found

    def _await_trial(self, target: Target[Spec, Inputs], trial: Section, ends: float) -> None:
        if time.monotonic() > ends:
            raise Locked(
                f"Unable to look at {target.host.name}: a change of another run is still being "
                "tried there.",
                hint="the same command again in some minutes",
            )
        left = max(0, int(trial.words[0]))
        target.report(f"waits for a change of another run: settled within {left} s")
        self._workspace.cancelled.wait(min(left + 1.0, 3.0))
        self._workspace.check()

    def apply(self, target: Target[Spec, Inputs], change: Change) -> None:
        """Carry out one change."""
        self.apply_batch(target, [change], lambda _: None, lambda _: None)

    def apply_batch(
        self,
        target: Target[Spec, Inputs],
        changes: Sequence[Change],
        started: Callable[[Change], None],
        done: Callable[[Change], None],
    ) -> None:
        """Carry out all changes in order: one round trip for neighbours of the same kind.

        What can cut us off is carried out as one, under a guard on the host.
        """
        everything = wanted(target)
        guarded = [i for i, change in enumerate(changes) if change.guarded]
        first, last = (guarded[0], guarded[-1] + 1) if guarded else (len(changes), len(changes))
        self._plainly(target, everything, changes[:first], started, done)
        if guarded:
            self._guarded(target, everything, changes[first:last], started, done)
        self._plainly(target, everything, changes[last:], started, done)

    def _guarded(
        self,
        target: Target[Spec, Inputs],
        everything: Everything,
        changes: Sequence[Change],
        started: Callable[[Change], None],
        done: Callable[[Change], None],
    ) -> None:
        """None of them is done before a new connection has confirmed them all."""
        steps = [
            step
            for name, group in itertools.groupby(changes, key=_kind_of)
            for step in _BY_NAME[name].steps(tuple(group), everything[name])
        ]
        for change in changes:
            started(change)
        window = target.spec.guard.window
        trial = Trial(self._workspace, self._endpoint(target), target.report, window)
        trial.run(steps, lifeline(changes, login(target)))
        for change in changes:
            done(change)

    def _plainly(
        self,
        target: Target[Spec, Inputs],
        everything: Everything,
        changes: Sequence[Change],
        started: Callable[[Change], None],
        done: Callable[[Change], None],
    ) -> None:
        for name, group in itertools.groupby(changes, key=_kind_of):
            self._workspace.check()
            steps = _BY_NAME[name].steps(tuple(group), everything[name])
            self._run(target, steps, started, done)

    def _run(
        self,
        target: Target[Spec, Inputs],
        steps: Sequence[Step],
        started: Callable[[Change], None],
        done: Callable[[Change], None],
    ) -> None:
        """Run the steps of one kind as one script; tell of each as far as it got."""
        nonce = secrets.token_hex(12)
        script, stdin = applying(nonce, steps)
        for change in steps[0].changes:
            started(change)
        target.report(_doing(steps[0] if len(steps) == 1 else _together(steps)))
        reply = self._shell(target).run(
            script,
            stdin=stdin,
            doing=_doing(_together(steps)),
            deadline=sum(step.deadline for step in steps),
            check=False,
        )
        finished = sum(name == "done" for name, _ in sections(nonce, reply.stdout))
        for index, step in enumerate(steps[: finished + 1]):
            for change in step.changes if index else ():
                started(change)
            for change in step.changes if index < finished else ():
                done(change)
        if finished < len(steps) or reply.status != 0:
            lines = reply.lines
            cause = lines[-1].strip().rstrip(".") if lines else f"status {reply.status}"
            raise DriverError(
                f"Unable to {_doing(steps[min(finished, len(steps) - 1)])} "
                f"on {target.host.name}: {cause}.",
                hint=f"the lines above tell more; then: lab converge l3 host={target.host.name}",
                status=reply.status,
                lines=lines,
            )

    def _shell(self, target: Target[Spec, Inputs]) -> shell.Shell:
        return self._workspace.resource(shell.shells).to(self._endpoint(target))

    def _endpoint(self, target: Target[Spec, Inputs]) -> shell.Endpoint:
        inputs, name = target.inputs, target.host.name
        if inputs.address is None:
            raise TransportError(
                f"Unable to reach {name}: it has no address yet.", hint=f"lab converge host={name}"
            )
        return shell.Endpoint(
            name=name,
            address=inputs.address,
            port=inputs.port or 22,
            user=inputs.user or "",
            host_key=inputs.host_key,
            identity_file=inputs.identity_file,
            sudo_password=inputs.sudo_password,
        )


def _kind_of(change: Change) -> str:
    return change.what.split(" ", 1)[0]


def _together(steps: Sequence[Step]) -> Step:
    return Step(tuple(change for step in steps for change in step.changes), "")


def _doing(step: Step) -> str:
    """``"make package curl, jq"``: the first change's verb and all the names."""
    first = step.changes[0]
    kind = first.what.split(" ", 1)[0]
    names = ", ".join(change.what.split(" ", 1)[1] for change in step.changes)
    verb = (
        "install" if kind == "package" and first.action is Action.CREATE else _VERBS[first.action]
    )
    return f"{verb} {kind} {names}"
