"""Disk images that somebody else made: believed only when they are whole by themselves."""

from __future__ import annotations

import json
from pathlib import Path

from lab.clients.process import run
from lab.errors import DriverError
from lab.layer import Workspace

_KINDS = frozenset({"qcow2", "raw"})


def examined(path: Path, shown: str) -> str:
    """The format of the image: ``qcow2`` or ``raw``. ``shown`` is what messages call it.

    Raises DriverError where it refers to another file, is closed or damaged, or is no disk.
    """
    argv: list[str | Path] = ["qemu-img", "info", "--output=json", path]
    told = json.loads(run(argv, doing=f"read {shown}", deadline=60).stdout)
    kind, specific = told["format"], told.get("format-specific", {}).get("data", {})
    if told.get("backing-filename") or specific.get("data-file"):
        raise DriverError(
            f"Unable to use {shown}: it refers to another file.",
            hint="take an image that is whole by itself",
        )
    if told.get("encrypted") or specific.get("corrupt") or told.get("dirty-flag"):
        why = "is encrypted" if told.get("encrypted") else "says of itself that it is damaged"
        raise DriverError(
            f"Unable to use {shown}: it {why}.", hint="take an image that is whole, and open"
        )
    with path.open("rb") as file:
        boot_sector = file.read(512)
    if kind not in _KINDS or (kind == "raw" and boot_sector[510:] != b"\x55\xaa"):
        raise DriverError(
            f"Unable to use {shown}: it is neither a qcow2 image nor a raw disk.",
            hint="unpack it first, and name the unpacked file",
        )
    return str(kind)


def convert(source: Path, kind: str, target: Path, wanted: str, workspace: Workspace) -> None:
    """Write the image anew in another format; what is empty takes no room."""
    run(
        ["qemu-img", "convert", "-f", kind, "-O", wanted, source, target],
        doing=f"convert a disk image to {wanted}",
        deadline=1800,
        cancelled=workspace.cancelled,
    )
