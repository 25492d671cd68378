"""``timezone``: the link that the C library reads, and the name for those that read that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layers.l3_system.spec import System

NAME = "timezone"


def expand(system: System) -> Mapping[str, Any]:
    """A link and a file."""
    zone = system.timezone
    if zone is None:
        return {}
    target = {"target": f"/usr/share/zoneinfo/{zone}", "exists": True}
    return {
        "files": {"/etc/timezone": {"content": f"{zone}\n"}},
        "links": {"/etc/localtime": target},
    }
