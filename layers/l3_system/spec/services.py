"""``services``, ``units``, ``timers`` and ``cron``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    model_validator,
)

from lab.model.later import later
from layers.l3_system.spec.files import Origin
from layers.l3_system.spec.types import UNIT, UNIT_TYPES, Declared, Part, Path, UnitName

if TYPE_CHECKING:
    from layers.l3_system.spec.cron import CronLine
    from layers.l3_system.spec.timer import Timer
else:
    CronLine = later("layers.l3_system.spec.cron:CronLine")
    Timer = later("layers.l3_system.spec.timer:Timer")


class Service(Declared):
    """A unit of systemd; ``docker: running`` is short for ``docker: {state: running}``."""

    state: Literal["running", "stopped"]
    enabled: bool | None = Field(default=None, description="at boot; default: if it is to run")
    masked: bool = Field(default=False, description="nothing can start it, not even another unit")
    restart_on: tuple[Path, ...] = Field(
        default=(), description="files declared here whose change restarts it"
    )
    reload_on: tuple[Path, ...] = Field(
        default=(), description="files declared here whose change reloads it"
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"state": value}
        if isinstance(value, dict) and value.get("masked") is True:
            return {"state": "stopped", **value}
        return value

    @model_validator(mode="after")
    def _masked_is_off(self) -> Self:
        if self.masked and (self.state == "running" or self.enabled):
            raise ValueError("what is masked can neither run nor be enabled")
        return self


class Unit(Origin):
    """A unit file, or a drop-in of a unit; ``state`` and ``enabled`` as under ``services``."""

    state: Literal["running", "stopped"] | None = None
    enabled: bool | None = None

    @model_validator(mode="after")
    def _with_state(self) -> Self:
        if self.enabled is not None and self.state is None:
            raise ValueError("give its state too: running or stopped")
        return self


def _unit_file(value: str) -> str:
    unit, _, drop_in = value.partition("/")
    name = unit.removesuffix(".d") if drop_in else unit
    if not UNIT.match(name) or not name.endswith(UNIT_TYPES):
        raise ValueError(f"{value!r} is not a unit's file: write it like backup.service")
    if drop_in and not (unit.endswith(".d") and UNIT.match(drop_in) and drop_in.endswith(".conf")):
        raise ValueError(f"{value!r} is not a drop-in: write it like docker.service.d/limits.conf")
    return value


def _job(value: str) -> str:
    if value.endswith(UNIT_TYPES) or not UNIT.match(value):
        raise ValueError(f"{value!r} is not a job's name: letters, digits, _ and -")
    return value


UnitFile = Annotated[str, AfterValidator(_unit_file)]
JobName = Annotated[str, AfterValidator(_job)]
AsWritten = PlainSerializer(lambda job: job.text, return_type=str, when_used="json")


class Services(Part):
    """The keys of ``system`` about what systemd runs."""

    services: dict[UnitName, Service] = {}
    units: dict[UnitFile, Unit] = {}
    timers: dict[JobName, Timer] = {}
    cron: dict[JobName, Annotated[CronLine, AsWritten]] = {}

    @model_validator(mode="after")
    def _no_drop_in_runs(self) -> Self:
        for name, unit in self.units.items():
            if "/" in name and unit.state is not None:
                raise ValueError(f"{name} is a drop-in: its unit's state stands under services")
        return self
