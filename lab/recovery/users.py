"""Who uses a set of data on a host: stopped while it is swapped, started and seen well after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lab.abilities import Quiescing
from lab.engine import Engine
from lab.engine.proven import captured_at
from lab.errors import NotConverged, PlanError
from lab.layer import Layer, Target
from lab.model.dataset import DataSet
from lab.model.host import Host, Part

Told = Callable[[str, int | None, int | None], None]


@dataclass(frozen=True)
class Users:
    """The parts of a host that use one set of data. ``handed`` is what the layers below hand up."""

    engine: Engine
    host: Host
    one: DataSet
    handed: Mapping[str, Any]
    told: Told

    def stop(self) -> None:
        """Let go of the data. Raises LabError."""
        for layer, part in self._parts():
            driver = layer.drivers[part.driver](self.engine.workspace)
            if isinstance(driver, Quiescing):
                self.told(f"stopping {part.name}", None, None)
                driver.quiesce(self._target(layer, part))

    def start(self) -> None:
        """Bring them to what is declared, and see that nothing is left to do. Raises LabError."""
        for layer, part in self._parts():
            driver = layer.drivers[part.driver](self.engine.workspace)
            target = self._target(layer, part)
            self.told(f"starting {part.name}", None, None)
            plan = layer.plan(target, driver.observe(target), driver.replace_on)
            for blocker in plan.blockers:
                what = f"Unable to start {blocker.what} on {self.host.name}: {blocker.why}."
                raise PlanError(what, hint=blocker.hint)
            for change in plan.changes:
                driver.apply(target, change)
            rest = layer.plan(target, driver.observe(target), driver.replace_on)
            if rest:
                lines = [c.what for c in rest.changes] + [b.why for b in rest.blockers]
                raise NotConverged(
                    f"Unable to start {part.name} on {self.host.name}: it is not as declared:"
                    f" {'; '.join(lines)}.",
                    lines,
                    hint=f"lab plan host={self.host.name}",
                )

    def _parts(self) -> Iterator[tuple[Layer, Part]]:
        for layer in self.engine.layers:
            for part in self.host.parts.get(layer.name, ()):
                if self.one in layer.data(self.host, part):
                    yield layer, part

    def _target(self, layer: Layer, part: Part) -> Target[Any, Any]:
        captured = captured_at(self.engine.journal).get(self.host.name, {})
        given = {"captured": captured, "restoring": frozenset({self.one.name})}

        def report(doing: str, done: int | None = None, total: int | None = None) -> None:
            self.told(doing, done, total)

        return Target(
            host=self.host,
            spec=part.spec,
            inputs=layer.inputs.model_validate({**given, **self.handed}),
            name=part.name,
            report=report,
        )
