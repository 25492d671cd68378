"""Things that hosts share (templates), when no host needs them any more."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol

from lab import events
from lab.abilities import Prunable, Shelving
from lab.engine.approval import UNUSED
from lab.engine.protocol import Run
from lab.engine.record import failure_of
from lab.errors import DriverError, LabError
from lab.layer import Driver, Layer, Target
from lab.model.host import Host
from lab.model.outcome import Failure, Outcome, PartReport
from lab.model.plan import Change, Plan


class Sharing(Run, Protocol):
    """What is needed of a run besides what its walks need."""

    hosts: tuple[Host, ...]

    def was_used(self, layer: Layer, driver: str) -> bool:
        """Whether a driver was asked anything in this run."""
        ...

    def shared_of(self, layer: Layer, host: Host) -> list[str]:
        """The keys of what a host shares with others on a layer."""
        ...

    def staying(self, destroying: frozenset[str]) -> Iterable[Host]:
        """The hosts whose shared things are kept."""
        ...


def plan_unused(
    run: Sharing,
    *,
    leaving: frozenset[str] = frozenset(),
    destroying: frozenset[str] = frozenset(),
    asked: bool = False,
) -> list[PartReport]:
    """What would be pruned, were the run's plans applied.

    ``asked``: pruning is what the run is for: of every driver, also what is else left alone.
    """
    reports: list[PartReport] = []
    for layer, name, driver in _prunables(run, destroying, asked=asked):
        start = time.monotonic()
        changes = _unneeded(driver, _keep(run, layer, destroying), leaving, asked=asked)
        if changes:
            plan = Plan(changes=changes)
            reports.append(_ended(run, layer, name, plan, Outcome.PENDING, start))
    return reports


def prune_unused(
    run: Sharing, *, destroying: frozenset[str] = frozenset(), asked: bool = False
) -> list[PartReport]:
    """Delete what no host uses any more (``asked``: see :func:`plan_unused`)."""
    reports: list[PartReport] = []
    for layer, name, driver in _prunables(run, destroying, asked=asked):
        start = time.monotonic()
        changes = _unneeded(driver, _keep(run, layer, destroying), frozenset(), asked=asked)
        plan = Plan(changes=tuple(c for c in changes if run.approval.permits(layer.name, c)))
        applied, failure = _prune(run, layer, driver, plan)
        if plan:
            outcome = Outcome.FAILED if failure else Outcome.CHANGED
            reports.append(
                _ended(run, layer, name, plan, outcome, start, applied=applied, failure=failure)
            )
    return reports


def _unneeded(
    driver: Prunable, keep: frozenset[str], leaving: frozenset[str], *, asked: bool
) -> tuple[Change, ...]:
    spare = driver.spare(keep) if asked and isinstance(driver, Shelving) else ()
    return (*driver.unused(keep, leaving), *spare)


def _prune(
    run: Sharing, layer: Layer, driver: Prunable, plan: Plan
) -> tuple[tuple[str, ...], Failure | None]:
    applied: list[str] = []
    failure: Failure | None = None
    for change in plan.changes:
        number = run.begin_change(("", layer.name, UNUSED), change)
        since = time.monotonic()
        try:
            driver.prune(change)
        except LabError as error:
            failure = failure_of(error)
            run.end_change(number, ok=False, seconds=time.monotonic() - since)
        else:
            applied.append(f"{change.action.value} {change.what}")
            run.end_change(number, ok=True, seconds=time.monotonic() - since)
    return tuple(applied), failure


def _ended(
    run: Sharing,
    layer: Layer,
    driver: str,
    plan: Plan,
    outcome: Outcome,
    start: float,
    *,
    applied: tuple[str, ...] = (),
    failure: Failure | None = None,
) -> PartReport:
    report = PartReport(
        host="",
        layer=layer.name,
        part=UNUSED,
        driver=driver,
        outcome=outcome,
        plan=plan,
        applied=applied,
        failure=failure,
        seconds=time.monotonic() - start,
    )
    run.emit(events.PartEnded(time.time(), report))
    return report


def _prunables(
    run: Sharing, destroying: frozenset[str], *, asked: bool
) -> list[tuple[Layer, str, Prunable]]:
    """Drivers with shared things, of the layers that this run acts on."""
    found: list[tuple[Layer, str, Prunable]] = []
    for index, layer in enumerate(run.layers[: run.options.stop + 1]):
        if not run.options.through and index != run.options.stop:
            continue
        names = {p.driver for h in run.hosts for p in h.parts.get(layer.name, ())}
        for name in sorted(names):
            wanted = asked or destroying or run.was_used(layer, name)
            driver: object = run.driver(layer, name) if wanted else None
            if isinstance(driver, Prunable):
                if asked:
                    see_places(layer, name, run.driver(layer, name), run.hosts)
                found.append((layer, name, driver))
    return found


def see_places(
    layer: Layer, name: str, driver: Driver[Any, Any, Any], hosts: Iterable[Host]
) -> None:
    """Let a driver learn where the hosts' shared things are: engines, clusters. Read-only.

    What cannot be reached is left out: what cannot be seen is neither told nor pruned.
    """
    seen: set[str | None] = set()
    for host in hosts:
        for part in host.parts.get(layer.name, ()):
            target = Target(host, part.spec, layer.inputs.model_validate({}), part.name)
            key = layer.shared(target)
            if part.driver != name or key in seen:
                continue
            seen.add(key)
            with suppress(DriverError):
                driver.observe(target)


def _keep(run: Sharing, layer: Layer, destroying: frozenset[str]) -> frozenset[str]:
    return frozenset(key for host in run.staying(destroying) for key in run.shared_of(layer, host))
