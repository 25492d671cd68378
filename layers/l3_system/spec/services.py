"""``services``, ``units``, ``timers`` and ``cron``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from lab.model.units import Duration
from layers.l3_system.spec import oncalendar
from layers.l3_system.spec.cron import Cron, read
from layers.l3_system.spec.files import Origin
from layers.l3_system.spec.types import UNIT, UNIT_TYPES, Account, Declared, Path, UnitName


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


def _one_line(value: str) -> str:
    if not value or not value.replace("\t", " ").isprintable():
        raise ValueError("a command is one line")
    return value


def _job(value: str) -> str:
    if value.endswith(UNIT_TYPES) or not UNIT.match(value):
        raise ValueError(f"{value!r} is not a job's name: letters, digits, _ and -")
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _variable(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("a text or a number is expected here")  # noqa: TRY004
    if not str(value).isprintable():
        raise ValueError("a variable's value is one line")
    return str(value)


UnitFile = Annotated[str, AfterValidator(_unit_file)]
JobName = Annotated[str, AfterValidator(_job)]
Calendar = Annotated[str, AfterValidator(oncalendar.checked)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Timer(Declared):
    """Something that is done again and again: a command, or a unit that is there already."""

    command: Annotated[str, AfterValidator(_one_line)] | None = None
    unit: UnitName | None = None
    on_calendar: Annotated[tuple[Calendar, ...], BeforeValidator(_listed), Field(min_length=1)]
    persistent: bool = Field(default=True, description="made up for after the host was off")
    randomized_delay: Duration | None = None
    user: Account | None = None
    environment: dict[Variable, Annotated[str, BeforeValidator(_variable)]] = {}

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if (self.command is None) == (self.unit is None):
            raise ValueError("give exactly one of command and unit")
        if self.unit is not None and (self.user is not None or self.environment):
            raise ValueError("user and environment go with a command: the unit has its own")
        return self


class Services(Declared):
    """The keys of ``system`` about what systemd runs."""

    services: dict[UnitName, Service] = {}
    units: dict[UnitFile, Unit] = {}
    timers: dict[JobName, Timer] = {}
    cron: dict[
        JobName,
        Annotated[
            Cron,
            BeforeValidator(read),
            PlainSerializer(lambda job: job.text, return_type=str, when_used="json"),
            WithJsonSchema({"type": "string", "examples": ["30 3 * * * root /usr/local/bin/x"]}),
        ],
    ] = {}

    @model_validator(mode="after")
    def _no_drop_in_runs(self) -> Self:
        for name, unit in self.units.items():
            if "/" in name and unit.state is not None:
                raise ValueError(f"{name} is a drop-in: its unit's state stands under services")
        return self
