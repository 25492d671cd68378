"""``firewall``: the package that loads what the kind of this name writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layers.l3_system.spec import System

NAME = "firewall"


def expand(system: System) -> Mapping[str, Any]:
    """Nftables."""
    return {"packages": ["nftables"]} if system.firewall is not None else {}
