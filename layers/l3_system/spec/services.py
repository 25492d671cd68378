"""``services``."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from layers.l3_system.spec.types import Declared, Path, UnitName


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


class Services(Declared):
    """The keys of ``system`` about what systemd runs."""

    services: dict[UnitName, Service] = {}
