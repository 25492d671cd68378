"""One host of one run: its layers from below, each handing up what the next one needs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from lab import events, faults
from lab.abilities import Batching, Remembering
from lab.engine.protocol import Run
from lab.engine.record import Recorder, Seen, failure_of
from lab.errors import (
    DriverError,
    Interrupted,
    LabError,
    NotConverged,
    Reverted,
    TransportError,
)
from lab.journal import Owned
from lab.layer import Above, Layer, Target
from lab.model.applied import Applied
from lab.model.host import Host, Part
from lab.model.outcome import Failure, Outcome, PartReport
from lab.model.plan import Action, Change, Plan

_RANK = {Above.AS_IS: 0, Above.UNSEEN: 1, Above.FRESH: 2}
AnyTarget = Target[Any, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """One target that is to be looked at: a declared part, or one that no longer is."""

    part: Part
    absent: bool = False


@dataclass(slots=True)
class Walk:
    """The walk of one host. ``reports`` and ``handed`` are its result."""

    run: Run
    host: Host
    handed: dict[str, Any] = field(default_factory=dict)
    reports: list[PartReport] = field(default_factory=list)
    above: Above = Above.AS_IS
    stopped: str = ""
    memory: tuple[Remembering, AnyTarget, str | None] | None = None

    def plan(self) -> None:
        """Look at every layer; change nothing."""
        for layer in self.run.layers[: self.run.options.stop + 1]:
            after: Above = self.above
            for item in self._items(layer):
                standing = self._guard(layer, item, self._plan_part)
                after = max(after, standing, key=_RANK.__getitem__)
            self.above = after

    def converge(self) -> None:
        """Bring every layer to what is declared, from below; stop at the first that fails."""
        for layer in self.run.layers[: self.run.options.stop + 1]:
            for item in self._items(layer):
                self._guard(layer, item, self._converge_part)
        if not self.stopped and self.run.options.stop == len(self.run.layers) - 1:
            self._remember()

    def destroy(self, *, only_plan: bool) -> None:
        """Delete what the layers made, from above."""
        step = self._plan_part if only_plan else self._converge_part
        for layer in reversed(self.run.layers):
            if layer.destroyed:
                for item in self._items(layer, absent=True):
                    self._guard(layer, item, step)
        if not only_plan and not self.stopped:
            self._disown_what_went_along()

    def _disown_what_went_along(self) -> None:
        """What stood on a machine that is gone is gone with it."""
        for layer in self.run.layers:
            if not layer.destroyed:
                for thing in self.run.owned(self.host.name, layer.name):
                    self.run.disown((thing.host, thing.layer, thing.part))
        self.run.forget_applied(self.host.name)

    def _remember(self) -> None:
        """Record what the host was brought to, on it as well; nothing where that is known there.

        A host that cannot take it is told of, and is as declared all the same: the next run writes.
        """
        changed = any(r.applied for r in self.reports)
        applied = Applied(self.run.commit, self.run.id, time.time())
        faults.point("engine.before_remember")
        if self.memory is not None:
            driver, target, there = self.memory
            if changed or (there or "") != applied.commit:
                try:
                    driver.remember(target, applied)
                except LabError as error:
                    self.run.emit(events.Notice(time.time(), error.message, self.host.name))
        if changed or self.run.already_applied(self.host.name) != applied.commit:
            self.run.keep_applied(self.host.name, applied)

    def block(self, failure: Failure, outcome: Outcome = Outcome.BLOCKED) -> None:
        """Report that nothing was tried, and why."""
        for layer in self.run.layers[: self.run.options.stop + 1]:
            for item in self._items(layer):
                self._end(layer, item, outcome, failure=failure)

    def _items(self, layer: Layer, *, absent: bool = False) -> list[Item]:
        declared = self.host.parts.get(layer.name, ())
        items = [Item(part, absent) for part in declared]
        names = {part.name for part in declared}
        if layer.prune_parts or absent:
            items += [
                Item(Part(o.part, o.driver, self.run.recorded(layer, o.spec)), absent=True)
                for o in self.run.owned(self.host.name, layer.name)
                if o.part not in names
            ]
        return items

    def _target(self, layer: Layer, item: Item) -> AnyTarget:
        host, part = self.host, item.part

        def report(doing: str, done: int | None = None, total: int | None = None) -> None:
            self.run.emit(
                events.Progress(time.time(), host.name, layer.name, part.name, doing, done, total)
            )

        return Target(
            host=host,
            spec=part.spec,
            inputs=layer.inputs.model_validate({**self.run.given(host.name), **self.handed}),
            name=part.name,
            absent=item.absent,
            with_data=self.run.options.with_data,
            adopt=self.run.options.adopt,
            renew=self.run.options.renew and layer.destroyed and not item.absent,
            report=report,
        )

    def _acts_on(self, layer: Layer) -> bool:
        options = self.run.options
        return options.through or layer is self.run.layers[options.stop]

    def _guard(self, layer: Layer, item: Item, step: Callable[..., Above]) -> Above:
        """The one place where an exception becomes a result."""
        start = time.monotonic()
        if self.stopped:
            self._end(layer, item, Outcome.BLOCKED, failure=Failure("After", self.stopped))
            return Above.AS_IS
        at = time.time()
        self.run.emit(
            events.PartStarted(at, self.host.name, layer.name, item.part.name, item.part.driver)
        )
        seen = Seen()
        try:
            self.run.workspace.check()
            standing = step(layer, item, seen)
        except LabError as error:
            outcome = Outcome.FAILED
            if isinstance(error, Interrupted):
                outcome = Outcome.INTERRUPTED
            elif isinstance(error, Reverted):
                outcome = Outcome.REVERTED
            elif isinstance(error, TransportError) and not seen.applied:
                outcome = Outcome.UNREACHABLE
            elif seen.refused:
                outcome = Outcome.BLOCKED
            self._end(layer, item, outcome, seen, failure_of(error), time.monotonic() - start)
        except Exception as error:  # noqa: BLE001 (recorded here, raised again when the run ends)
            self.run.bug(error)
            what = Failure("Bug", f"{type(error).__name__}: {error}")
            self._end(layer, item, Outcome.FAILED, seen, what, time.monotonic() - start)
        else:
            outcome = seen.outcome
            self._end(layer, item, outcome, seen, seen.failure, time.monotonic() - start)
            return standing
        return Above.AS_IS

    def _end(
        self,
        layer: Layer,
        item: Item,
        outcome: Outcome,
        seen: Seen | None = None,
        failure: Failure | None = None,
        seconds: float = 0.0,
    ) -> None:
        if not outcome.is_good and not self.stopped:
            self.stopped = f"waits for {layer.name} ({outcome.value})"
        report = PartReport(
            host=self.host.name,
            layer=layer.name,
            part=item.part.name,
            driver=item.part.driver,
            outcome=outcome,
            plan=seen.plan if seen else Plan(),
            applied=tuple(seen.applied) if seen else (),
            failure=failure,
            seconds=seconds,
        )
        self.reports.append(report)
        self.run.emit(events.PartEnded(time.time(), report))

    def _look(self, layer: Layer, item: Item, target: AnyTarget) -> tuple[Plan, Any]:
        """What there is, or will be, and what that needs."""
        driver = self.run.driver(layer, item.part.driver)
        if self.above is Above.UNSEEN:
            note = f"{self.host.name} is not running: what it needs is seen once it runs"
            return Plan(predicted=True, notes=(note,)), None
        if self.above is Above.FRESH:
            observed = None if item.absent else layer.fresh(target)
            plan = layer.plan(target, observed, driver.replace_on)
            return replace(plan, predicted=True), observed
        observed = driver.observe(target)
        return layer.plan(target, observed, driver.replace_on), observed

    def _plan_part(self, layer: Layer, item: Item, seen: Seen) -> Above:
        target = self._target(layer, item)
        key = layer.shared(target)
        if layer.stacked and any(r.plan.changes for r in self.reports if r.layer == layer.name):
            plan, observed = self._look_ahead(layer, item, target)
        else:
            plan, observed = self._look(layer, item, target)
        prediction = layer.predict(target, observed, plan)
        self.handed.update(prediction.outputs.model_dump())
        maker = self.run.maker(layer, self.host, key)
        if plan.changes and maker != self.host.name:
            plan = replace(plan, changes=(), notes=(*plan.notes, f"made once, with {maker}"))
        seen.plan = plan
        self._planned(layer, item, plan)
        if plan.blockers:
            seen.block(plan)
        elif plan.changes:
            seen.outcome = Outcome.PENDING
        return prediction.above

    def _look_ahead(self, layer: Layer, item: Item, target: AnyTarget) -> tuple[Plan, Any]:
        """A part that stands on a pending one: what is seen now may be too early."""
        try:
            plan, observed = self._look(layer, item, target)
        except TransportError:
            raise
        except DriverError as error:
            replace_on = self.run.driver(layer, item.part.driver).replace_on
            observed = None if item.absent else layer.fresh(target)
            plan = layer.plan(target, observed, replace_on)
            plan = replace(plan, notes=(*plan.notes, f"not to be seen yet: {error.message}"))
        return replace(plan, predicted=True, open=True), observed

    def _converge_part(self, layer: Layer, item: Item, seen: Seen) -> Above:
        target = self._target(layer, item)
        with self.run.turn(layer.shared(target)):
            plan, observed = self._look(layer, item, target)
            seen.plan = plan
            self._planned(layer, item, plan)
            if plan.blockers:
                seen.block(plan)
                return Above.AS_IS
            if plan.changes and not self._acts_on(layer):
                seen.outcome = Outcome.BLOCKED
                seen.failure = Failure(
                    "Blocked",
                    f"{layer.name} of {self.host.name} has changes of its own pending.",
                    "add --through to converge the layers below as well",
                )
                return Above.AS_IS
            self._approve(layer, item, target, plan, seen)
            self._claim(layer, item, keep=bool(plan.changes) or observed is not None)
            if plan.changes:
                self._apply(layer, item, target, seen)
                self.run.made(layer.shared(target))
                observed = self._again(layer, item, target)
                seen.outcome = Outcome.CHANGED
        self._settle(layer, item, observed)
        driver = self.run.driver(layer, item.part.driver)
        if self.memory is None and not item.absent and isinstance(driver, Remembering):
            self.memory = (driver, target, driver.remembers(observed))
        if not item.absent:
            self.handed.update(layer.outputs(target, observed).model_dump())
        return Above.AS_IS

    def _planned(self, layer: Layer, item: Item, plan: Plan) -> None:
        self.run.emit(
            events.PartPlanned(time.time(), self.host.name, layer.name, item.part.name, plan)
        )

    def _approve(self, layer: Layer, item: Item, target: AnyTarget, plan: Plan, seen: Seen) -> None:
        key = layer.shared(target)
        maker = self.run.maker(layer, self.host, key)
        made = maker != self.host.name or self.run.was_made(key)
        seen.refused = True
        self.run.approval.check(self.host, (maker, layer.name, item.part.name), plan, shared=made)
        seen.refused = False

    def _apply(self, layer: Layer, item: Item, target: AnyTarget, seen: Seen) -> None:
        """Carry the plan out, change by change; each is recorded before and after."""
        driver = self.run.driver(layer, item.part.driver)
        recorder = Recorder(self.run, (self.host.name, layer.name, item.part.name), seen)
        try:
            if isinstance(driver, Batching):
                driver.apply_batch(target, seen.plan.changes, recorder.start, recorder.end)
            else:
                for change in seen.plan.changes:
                    self.run.workspace.check()
                    recorder.start(change)
                    driver.apply(target, change)
                    recorder.end(change)
        finally:
            recorder.close()

    def _again(self, layer: Layer, item: Item, target: AnyTarget) -> Any:
        """The verification that nobody can forget: observe and plan a second time."""
        driver = self.run.driver(layer, item.part.driver)
        target.report("look again")
        target = replace(target, renew=False)
        observed = driver.observe(target)
        rest = layer.plan(target, observed, driver.replace_on)
        if rest:
            lines = [f"{c.action.value} {c.what}{_fields(c)}" for c in rest.changes]
            lines += [f"{b.what}: {b.why}" for b in rest.blockers]
            raise NotConverged(
                f"Unable to converge {layer.name} of {self.host.name}: after applying,"
                f" this is still to do: {'; '.join(lines)}.",
                lines,
                hint=f"lab plan host={self.host.name}",
            )
        return observed

    def _claim(self, layer: Layer, item: Item, *, keep: bool) -> None:
        """Enter what is about to be made into the ledger, first."""
        if keep and not item.absent and (layer.destroyed or layer.prune_parts):
            faults.point("engine.before_own")
            host, part = self.host, item.part
            spec = part.spec.model_dump_json()
            self.run.own(
                Owned(
                    host.name, layer.name, part.name, part.driver, host.persona, host.provider, spec
                )
            )

    def _settle(self, layer: Layer, item: Item, observed: Any) -> None:
        """Take it out of the ledger only once it was seen to be gone."""
        if item.absent and observed is None:
            self.run.disown((self.host.name, layer.name, item.part.name))


def _fields(change: Change) -> str:
    shown = [f"{f.field}: {f.before} → {f.after}" for f in change.fields if not f.secret]
    return f" ({', '.join(shown[:3])})" if shown and change.action is Action.UPDATE else ""
