"""What keeps the host reachable: ``ssh_server``, ``firewall``, ``network``, ``wireguard``."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from lab.model.units import Duration
from layers.l3_system.spec.types import Declared

_SHORTEST, _LONGEST = 10, 600


def _bearable(seconds: int) -> int:
    if not _SHORTEST <= seconds <= _LONGEST:
        raise ValueError(f"{seconds}s is no time to wait for a host: 10s to 10m")
    return seconds


class Guard(Declared):
    """How a change that can cut us off is tried: reverted where nobody confirms it in time."""

    window: Annotated[Duration, AfterValidator(_bearable)] = 60


class Connection(Declared):
    """The keys of ``system`` whose change can cut us off."""

    guard: Guard = Guard()
