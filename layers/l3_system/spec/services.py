"""``services``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from layers.l3_system.spec.types import Declared, Path, UnitName


class Service(Declared):
    """A unit of systemd; ``docker: running`` is short for ``docker: {state: running}``."""

    state: Literal["running", "stopped"]
    enabled: bool | None = Field(default=None, description="at boot; default: if it is to run")
    restart_on: tuple[Path, ...] = Field(
        default=(), description="files declared here whose change restarts it"
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"state": value} if isinstance(value, str) else value


class Services(Declared):
    """The keys of ``system`` about what systemd runs."""

    services: dict[UnitName, Service] = {}
