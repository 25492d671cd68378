"""The guest's serial console, as QEMU writes it to a file."""

from __future__ import annotations

import re
from pathlib import Path

_ESCAPES = re.compile(
    rb"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[ -/]*[0-~])|[\x00-\x08\x0b-\x1f\x7f]"
)
_CLOCK = re.compile(r"^\[ *\d+\.\d+\] ")
# Seen once in 18 boots with two virtual processors without KVM: multi-threaded TCG races with the
# kernel patching its own code, and the guest dies in its first seconds.
_DEATHS = re.compile(rb"Kernel panic|Oops: ")
_TAIL = 16384


class Console:
    """Reads what came since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._carry = b""
        self.line = ""
        self.panicked = False

    def look(self) -> None:
        """Read on: ``line`` is the last line with text, ``panicked`` whether it died."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                piece = file.read()
        except OSError:
            return
        self._offset += len(piece)
        text = self._carry + piece
        self._carry = text[-64:]
        self.panicked = self.panicked or _DEATHS.search(text) is not None
        lines = readable(piece)
        if lines:
            self.line = lines[-1]


def readable(raw: bytes) -> list[str]:
    """The lines with text, without terminal codes."""
    text = _ESCAPES.sub(b"", raw.replace(b"\r", b"\n")).decode(errors="replace")
    return [_CLOCK.sub("", line.strip()) for line in text.split("\n") if line.strip()]


def last_lines(path: Path, count: int = 15) -> list[str]:
    """The end of a console's file; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            return readable(file.read())[-count:]
    except OSError:
        return []
