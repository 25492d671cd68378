"""The Docker engine of this machine: whether it may be used, and what it can do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from lab.clients.docker import engines, usual_address
from lab.errors import DriverError
from lab.layer import Workspace
from lab.model.mark import HOST, LAB
from layers.l0_runway.spec import Engine, Port, TakenPort

_LIMITS = {"memory": "MemoryLimit", "cpu": "CpuCfsQuota"}


def observe(workspace: Workspace, address: str) -> Engine:
    """One question; what an engine says of itself is asked once a run."""
    place = address or usual_address()
    try:
        about = workspace.resource(engines).at(address).about()
    except DriverError as error:
        cause = error.message.partition(": ")[2].rstrip(".")
        return Engine(address=place, problem=cause or error.message, hint=error.hint)
    folder = str(about.get("DockerRootDir", ""))
    free = _free(folder, about)
    return Engine(
        address=place,
        version=str(about.get("ServerVersion", "")),
        system=str(about.get("OSType", "")),
        storage=str(about.get("Driver", "")),
        cannot_limit=tuple(name for name, key in _LIMITS.items() if not about.get(key)),
        folder=folder,
        free=free,
        running=int(about.get("ContainersRunning") or 0),
        watches=_watches() if free is not None else None,
    )


def taken(
    workspace: Workspace, address: str, host: str, wanted: tuple[Port, ...]
) -> tuple[tuple[TakenPort, ...], tuple[Port, ...]]:
    """Those of the ports that another container has, and those that the host's own has."""
    if not wanted:
        return (), ()
    doing = "look at the ports of containers"
    found = workspace.resource(engines).at(address).get("/containers/json", doing=doing) or ()
    others: list[TakenPort] = []
    own: list[Port] = []
    for port in wanted:
        for container in found:
            if not any(_is(port, published) for published in container.get("Ports") or ()):
                continue
            labels = container.get("Labels") or {}
            if (labels.get(LAB), labels.get(HOST)) == (workspace.lab, host):
                own.append(port)
            else:
                name = str(container["Names"][0]).lstrip("/")
                others.append(TakenPort(port=port, holder=f"the container {name}"))
    return tuple(others), tuple(own)


def _is(port: Port, published: dict[str, Any]) -> bool:
    same = (published.get("PublicPort"), published.get("Type")) == (port.number, port.protocol)
    everywhere = {"0.0.0.0", "::"}  # noqa: S104 (compared with, never bound)
    where = published.get("IP")
    return same and (where == port.address or bool({where, port.address} & everywhere))


def _free(folder: str, about: dict[str, Any]) -> int | None:
    """Bytes free where it keeps its things; ``None`` where that is not on this machine."""
    place = Path(folder)
    if not folder or not place.parent.exists() or "Desktop" in str(about.get("OperatingSystem")):
        return None
    while not _is_there(place):
        place = place.parent
    return shutil.disk_usage(place).free


def _watches() -> int | None:
    """How many inotify instances a user may have; ``None`` where the kernel does not say."""
    try:
        return int(Path("/proc/sys/fs/inotify/max_user_instances").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _is_there(place: Path) -> bool:
    try:
        return place.exists()
    except PermissionError:
        return False
