"""One entry of ``timers``."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lab.model.units import Duration
from layers.l3_system.spec import oncalendar
from layers.l3_system.spec.types import Account, Declared, UnitName


def _one_line(value: str) -> str:
    if not value or not value.replace("\t", " ").isprintable():
        raise ValueError("a command is one line")
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _variable(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("a text or a number is expected here")  # noqa: TRY004
    if not str(value).isprintable():
        raise ValueError("a variable's value is one line")
    return str(value)


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
