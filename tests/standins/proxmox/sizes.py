"""Sizes as the API reads and writes them, and what an image's own header says."""

from __future__ import annotations

import struct
from pathlib import Path

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse(text: str) -> int:
    """`4G` in bytes."""
    unit = text[-1] if text[-1:] in _UNITS else ""
    number = text.removesuffix(unit) if unit else text
    return int(float(number) * _UNITS[unit])


def show(size: int) -> str:
    """Bytes in the largest unit that leaves no rest: `2560M`."""
    shown = str(size)
    for unit in ("K", "M", "G", "T"):
        if size == 0 or size % 1024:
            break
        size //= 1024
        shown = f"{size}{unit}"
    return shown


def virtual_size(file: Path) -> tuple[int, str]:
    """The size of the disk that a file holds, and the file's format."""
    with file.open("rb") as opened:
        head = opened.read(32)
    if head[:4] == b"QFI\xfb" and len(head) == 32:
        return struct.unpack(">Q", head[24:32])[0], "qcow2"
    return file.stat().st_size, "raw"
