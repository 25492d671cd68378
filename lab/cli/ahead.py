"""Logging in while the rest is still being loaded, where the same words were said before.

What a command connected to is noted in the cache, under its words and a stamp of the lab's files.
The same words with the same files mean the same hosts: their sessions are begun at once (see
:mod:`lab.clients.shell_ahead`). Any edit, other words or another login of the files' owner mean
that nothing is begun ahead. What is noted is no secret: command lines and host keys.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import folders
from lab.cli.names import root_of
from lab.clients import shell_ahead
from lab.clients.shell_ahead import Opening

_FORMAT = 1
_FOLDERS = ("personas", "inventory")
_MOST_FILES = 5000
_MOST_NOTES = 32


@contextmanager
def begun(root: str | None, words: str) -> Iterator[None]:
    """Begin what these words needed the last time; afterwards, note what they needed now."""
    lab = root_of(root)
    stamp = _stamp(lab) if lab is not None else None
    if lab is None or stamp is None:
        yield
        return
    note = _place(lab, words)
    before = _read(note, stamp)
    shell_ahead.begin(before)
    try:
        yield
        now = shell_ahead.opened()
        if set(now) != set(before):
            _write(note, stamp, now)
    finally:
        shell_ahead.end()


def _place(lab: Path, words: str) -> Path:
    name = hashlib.sha256(f"{lab.resolve()}\0{words}".encode()).hexdigest()[:24]
    return folders.cache() / "strata" / "ahead" / f"{name}.json"


def _stamp(lab: Path) -> str | None:
    """Changes with every file that says what is declared; ``None`` where that cannot be told."""
    digest = hashlib.sha256()
    try:
        for count, path in enumerate(_files(lab)):
            about = path.stat()
            digest.update(f"{path}\0{about.st_size} {about.st_mtime_ns} {about.st_ino}\n".encode())
            if count >= _MOST_FILES:
                return None
    except OSError:
        return None
    return digest.hexdigest()


def _files(lab: Path) -> Iterator[Path]:
    yield lab / "lab.yaml"
    for folder in _FOLDERS:
        for place, below, names in os.walk(lab / folder):
            below.sort()
            for name in sorted(names):
                yield Path(place, name)


def _read(note: Path, stamp: str) -> list[Opening]:
    try:
        about = note.stat()
        if about.st_uid != os.geteuid() or about.st_mode & 0o022:
            return []  # somebody else may have put words into our mouth
        kept: Any = json.loads(note.read_text(encoding="utf-8"))
        if kept["format"] != _FORMAT or kept["stamp"] != stamp:
            return []
        found = [
            Opening(tuple(o["argv"]), (o["known"][0], o["known"][1])) for o in kept["openings"]
        ]
        return [opening for opening in found if opening.argv[0] == "ssh"]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return []


def _write(note: Path, stamp: str, openings: list[Opening]) -> None:
    body = {
        "format": _FORMAT,
        "stamp": stamp,
        "openings": [{"argv": o.argv, "known": o.known} for o in openings],
    }
    with contextlib.suppress(OSError):
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=note.parent, delete=False) as file:
            json.dump(body, file)
        Path(file.name).replace(note)
        notes = sorted(note.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in notes[:-_MOST_NOTES]:
            old.unlink(missing_ok=True)
