"""``units``: files in systemd's own folder, verified by it, and their services."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from layers.l3_system.spec import System
from layers.l3_system.spec.types import UNIT_FOLDER

NAME = "units"


def expand(system: System) -> Mapping[str, Any]:
    """A file each; a service where a state is given."""
    files: dict[str, Any] = {}
    services: dict[str, Any] = {}
    for name, unit in system.units.items():
        origin = {n: getattr(unit, n) for n in ("content", "template", "source")}
        files |= unit_file(name, origin)
        if unit.state is not None:
            services[name] = {"state": unit.state, "enabled": unit.enabled}
    return {"files": files, "services": services}


def unit_file(name: str, origin: Mapping[str, Any], times: Sequence[str] = ()) -> dict[str, Any]:
    """The file of a unit, that systemd must take; and the times in it."""
    check = f"verified %s {shlex.join((name, *times))}"
    return {f"{UNIT_FOLDER}{name}": {**origin, "validate": check}}
