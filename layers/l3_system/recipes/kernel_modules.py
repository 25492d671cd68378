"""``kernel_modules``: what is loaded at boot, and with which parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layers.l3_system.spec import System

NAME = "kernel_modules"


def expand(system: System) -> Mapping[str, Any]:
    """A file each for modules-load.d, and for modprobe.d where there are parameters."""
    files = {}
    for name, parameters in system.modules.items():
        files[f"/etc/modules-load.d/strata-{name}.conf"] = {"content": f"{name}\n"}
        if parameters:
            words = " ".join(f"{k}={v}" for k, v in parameters.items())
            content = {"content": f"options {name} {words}\n"}
            files[f"/etc/modprobe.d/strata-{name}.conf"] = content
    return {"files": files}
