"""qcow2 files: read without a program, made and grown by qemu-img."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from lab.clients.process import run
from lab.errors import DriverError
from lab.model.units import show_size_exact

_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(
    ">4sIQIIQ"
)  # magic, version, backing offset, its length, cluster bits, size


@dataclass(frozen=True, slots=True)
class Header:
    """What a qcow2 file says of itself: bytes the guest sees, and the file it lies on."""

    size: int
    backing: str | None


def read_header(path: Path) -> Header | None:
    """The header; ``None`` where there is no file or it is no qcow2."""
    try:
        with path.open("rb") as file:
            fields = file.read(_HEADER.size)
            if len(fields) < _HEADER.size or not fields.startswith(_MAGIC):
                return None
            _, _, offset, length, _, size = _HEADER.unpack(fields)
            file.seek(offset)
            backing = file.read(length).decode(errors="replace") if offset else None
    except OSError:
        return None
    return Header(size, backing)


def used(path: Path) -> int:
    """Bytes that it takes on this machine."""
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


def stamp(template: Path) -> str:
    """Changes when the template's file is another one: an overlay does not survive that.

    ``""`` where it is gone.
    """
    try:
        status = template.stat()
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def make_overlay(path: Path, template: Path, size: int, host: str) -> None:
    """A disk that starts as the template and keeps only what differs; replaces ``path``."""
    below = read_header(template)
    if below is None:
        raise DriverError(
            f"Unable to make the root disk of {host}: {template} is no qcow2 image.",
            hint=f"lab converge l1 host={host}",
        )
    if below.size > size:
        raise DriverError(
            f"Unable to make the root disk of {host}: its template needs "
            f"{show_size_exact(below.size)}, and {show_size_exact(size)} is declared.",
            hint="a larger size at machine.disks.root in the persona",
        )
    options = ("-F", "qcow2", "-b", str(template))
    _create(path, size, options, f"make the root disk of {host}")


def make_blank(path: Path, size: int, host: str) -> None:
    """An empty disk; replaces ``path``."""
    _create(path, size, (), f"make the disk {path.stem} of {host}")


def grow(path: Path, size: int, host: str) -> None:
    """Make a disk that nobody has open larger."""
    run(
        ["qemu-img", "resize", "-q", "-f", "qcow2", path, str(size)],
        doing=f"grow the disk {path.stem} of {host}",
    )


def _create(path: Path, size: int, options: tuple[str, ...], doing: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    run(["qemu-img", "create", "-q", "-f", "qcow2", *options, new, str(size)], doing=doing)
    new.chmod(0o600)
    new.replace(path)
