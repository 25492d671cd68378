"""An operating system over one persistent shell: one round trip to look at everything."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lab.abilities import Described
from lab.clients import shell
from lab.errors import DriverError, Locked
from lab.layer import Target, Workspace
from lab.lazy import Lazy
from lab.model.applied import Applied
from lab.model.plan import Action, Change
from lab.model.undeclared import Known, Undeclared
from layers.l3_system.drivers import reach
from layers.l3_system.drivers.guarded import Trial
from layers.l3_system.kinds import guard
from layers.l3_system.kinds.kind import Kind, LooksAgain, Section, Step, Wanted, name_of
from layers.l3_system.kinds.lifeline import lifeline
from layers.l3_system.kinds.order import KINDS
from layers.l3_system.kinds.script import (
    applying,
    ledger,
    probing,
    remembered,
    remembering,
    sections,
)
from layers.l3_system.planner import Everything, login, wanted
from layers.l3_system.spec import Inputs, Observed, Spec

if TYPE_CHECKING:
    from layers.l3_system.drivers import surveys
else:
    surveys = Lazy("layers.l3_system.drivers.surveys")

_BY_NAME: dict[str, Kind] = {kind.NAME: kind for kind in KINDS}
_VERBS = {
    Action.CREATE: "make",
    Action.UPDATE: "change",
    Action.DELETE: "remove",
    Action.REPLACE: "replace",
}
_OBSERVE_DEADLINE = 120.0
_LONGEST_TRIAL = 300.0
_PATIENCE = 900.0  # seconds that another program may keep its lock; security updates take minutes
_POLL = 1.0
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
        while (found := self._look(target, everything, KINDS)).get("guard"):
            self._await_trial(target, found["guard"][-1], ends)
        owned = ledger([line for part in found.get("ledger", ()) for line in part.lines])
        things = {kind.NAME: kind.parse(found.get(kind.NAME, ())) for kind in KINDS}
        said = [line for part in found.get("commit", ()) for line in part.lines]
        return Observed(things=things, owned=owned, commit=remembered(said))

    def remembers(self, observed: Observed) -> str | None:
        """What ``/var/lib/strata/commit`` said while everything else was looked at."""
        return observed.commit

    def remember(self, target: Target[Spec, Inputs], applied: Applied) -> None:
        """Write it down there; root can read it."""
        at = datetime.fromtimestamp(applied.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        script = remembering(applied.commit, applied.run, at)
        self._shell(target).run(script, doing="record the applied commit")

    def _look(
        self, target: Target[Spec, Inputs], everything: Everything, kinds: Sequence[Kind]
    ) -> dict[str, list[Section]]:
        """The parts of the answer, by kind; ``ledger`` and ``guard`` too."""
        nonce = secrets.token_hex(12)
        probes = [guard.PROBE, *(kind.probe(everything[kind.NAME]) for kind in kinds)]
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

    def survey(self, target: Target[Spec, Inputs], known: Known) -> tuple[Undeclared, ...]:
        """Everything on the machine that no file of the lab speaks of, in one round trip."""
        return surveys.survey(self._shell(target), target, known)

    def describe(self, target: Target[Spec, Inputs], known: Known) -> Described:
        """The machine as a persona would declare it."""
        return surveys.describe(self._shell(target), target, known)

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
        for trial in _trials(changes[first:last]):
            self._guarded(target, everything, trial, started, done)
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
            for step in self._steps(target, everything, name, tuple(group))
        ]
        for change in changes:
            started(change)
        window = target.spec.guard.window
        trial = Trial(self._workspace, reach.endpoint(target), target.report, window)
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
            steps = self._steps(target, everything, name, tuple(group))
            self._run(target, steps, started, done)

    def _steps(
        self,
        target: Target[Spec, Inputs],
        everything: Everything,
        name: str,
        changes: tuple[Change, ...],
    ) -> list[Step]:
        """How one kind carries its changes out; some must see what is there by now."""
        kind, things = _BY_NAME[name], everything[name]
        if isinstance(kind, LooksAgain):
            found = kind.parse(self._look(target, everything, [kind]).get(name, ()))
            things = {
                n: replace(things.get(n, Wanted({})), found=found.get(n))
                for n in map(name_of, changes)
            }
        return kind.steps(changes, things)

    def _run(
        self,
        target: Target[Spec, Inputs],
        steps: Sequence[Step],
        started: Callable[[Change], None],
        done: Callable[[Change], None],
    ) -> None:
        """Run the steps of one kind as one script; tell of each as far as it got."""
        self._wait(target, steps)
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

    def _wait(self, target: Target[Spec, Inputs], steps: Sequence[Step]) -> None:
        """Until nobody holds what the steps need, saying who does."""
        ready = "\n".join({step.ready: None for step in steps if step.ready})
        doing, began = _doing(_together(steps)), time.monotonic()
        while ready:
            reply = self._shell(target).run(ready, doing=doing, check=False)
            holder = reply.text.strip()
            if not holder:
                return
            if time.monotonic() - began > _PATIENCE:
                raise DriverError(
                    f"Unable to {doing} on {target.host.name}: {holder} keeps its lock"
                    f" for more than {_PATIENCE / 60:.0f} minutes.",
                    hint=f"look at it with: lab ssh {target.host.name}",
                )
            target.report(f"waits for {holder}")
            self._workspace.cancelled.wait(_POLL)
            self._workspace.check()

    def _shell(self, target: Target[Spec, Inputs]) -> shell.Shell:
        return self._workspace.resource(shell.shells).to(reach.endpoint(target))


def _kind_of(change: Change) -> str:
    return change.what.split(" ", 1)[0]


def _trials(changes: Sequence[Change]) -> list[list[Change]]:
    """One, or more where a change starts from what another one leaves at its path."""
    trials: list[list[Change]] = [[]] if changes else []
    for change in changes:
        before = {name_of(c) for c in trials[-1]}
        if isinstance(_BY_NAME[_kind_of(change)], LooksAgain) and name_of(change) in before:
            trials.append([])
        trials[-1].append(change)
    return trials


def _together(steps: Sequence[Step]) -> Step:
    return Step(tuple(change for step in steps for change in step.changes), "")


def _doing(step: Step) -> str:
    """``"install package curl, jq"``: what all changes have in common, and their names."""
    kind = step.changes[0].what.split(" ", 1)[0]
    # what is gone already is only forgotten: nothing to talk about
    told = [c for c in step.changes if c.fields or c.action is not Action.DELETE] or step.changes
    names = ", ".join(change.what.split(" ", 1)[1] for change in told)
    actions = {change.action for change in told}
    verb = _VERBS[actions.pop()] if len(actions) == 1 else "change"
    if kind == "package" and verb == "make":
        verb = "install"
    return f"{verb} {kind} {names}"
