"""What lies in a backup: a guest's configuration, and its disks where those are real."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from . import drives
from .storages import Volume
from .world import Guest, World

_NOT_IN_IT = ("lock", "parent", "unused")


def write(world: World, volume: Volume, guest: Guest, included: Iterable[str]) -> None:
    """Keep what the guest is now; its disks are copied as they are at this moment."""
    held, size = {}, 4096
    for key in included:
        source = world.volumes.need(drives.parse(key, guest.config[key]).file, guest.node)
        held[key] = {"size": source.size, "format": source.format}
        if source.file and source.file.exists():
            copy = _disk(volume, key)
            _flat(source, copy)
            size += copy.stat().st_size
    config = {k: v for k, v in guest.config.items() if not k.startswith(_NOT_IN_IT)}
    text = json.dumps({"kind": guest.kind, "config": config, "drives": held})
    volume.bytes_at.write_text(text, encoding="utf-8")
    volume.size = volume.file_size = size


def read(volume: Volume) -> tuple[dict[str, str], dict[str, Volume]]:
    """The configuration, and each drive that is in it as something to copy from."""
    told = json.loads(volume.bytes_at.read_text(encoding="utf-8"))
    found = {}
    for key, one in told["drives"].items():
        file = _disk(volume, key)
        found[key] = Volume(
            volume.storage,
            "",
            "import",
            int(one["size"]),
            "qcow2" if file.exists() else str(one["format"]),
            volume.node,
            file=file if file.exists() else None,
        )
    return told["config"], found


def _disk(volume: Volume, key: str) -> Path:
    return volume.bytes_at.with_name(f"{volume.bytes_at.name}.{key}")


def _flat(source: Volume, copy: Path) -> None:
    from .images import convert

    convert(source, copy)


def forget(volume: Volume) -> None:
    """Take away the disks that lie beside an archive."""
    if volume.content == "backup" and volume.file:
        for file in volume.file.parent.glob(f"{volume.file.name}.*"):
            file.unlink()


__all__ = ["forget", "read", "write"]
