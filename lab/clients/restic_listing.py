"""What a repository in a folder listed last, true for as long as the same snapshots lie in it.

restic takes half a second of a processor to open a repository, whatever it then does there. A
snapshot lies in a file that is called by the hash of its content: same names, same snapshots.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"[0-9a-f]{64}")
_OUTGROWN = 2  # times what lies there: time to write the file anew


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot as the repository lists it; ``size`` is what went in, where restic says so."""

    id: str
    at: float
    host: str
    tags: frozenset[str]
    paths: tuple[str, ...]
    size: int | None = None

    def tag(self, key: str) -> str:
        """The value of the tag ``key=value``, ``""`` where there is none."""
        start = f"{key}="
        return next((t.removeprefix(start) for t in self.tags if t.startswith(start)), "")


class Remembered:
    """The listing of one repository, kept in ``place``; none, where it has no folder."""

    def __init__(self, folder: Path | None, place: Path | None) -> None:
        self._folder = folder
        name = hashlib.sha256(os.fsencode(folder or "")).hexdigest()[:32]
        self._file = place / f"{name}.jsonl" if place is not None and folder is not None else None

    def read(self) -> list[Snapshot] | None:
        """All that lie there; ``None``: one that is not known does, or none of it can be read."""
        if self._file is None or self._folder is None:
            return None
        try:
            names = {path.name for path in (self._folder / "snapshots").iterdir()}
            lines = self._file.read_text(encoding="utf-8").splitlines()
            known = {one.id: one for one in map(_read, lines)}
        except (OSError, ValueError, TypeError, KeyError):
            return None
        there = {name for name in names if _NAME.fullmatch(name)}
        if not there <= known.keys() or len(known) > _OUTGROWN * len(there):
            return None
        return [known[name] for name in there]

    def keep(self, snapshots: Iterable[Snapshot]) -> None:
        """These are all. What cannot be kept is asked for again."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self._file.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as new:
                    new.writelines(map(_written, snapshots))
                os.replace(name, self._file)  # noqa: PTH105 (the atomic one, by its name)
            except BaseException:
                os.unlink(name)  # noqa: PTH108
                raise

    def add(self, snapshot: Snapshot) -> None:
        """One more, where a listing was kept before it."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            with os.fdopen(handle, "wb") as file:
                file.write(_written(snapshot).encode())


def _written(one: Snapshot) -> str:
    return json.dumps([one.id, one.at, one.host, sorted(one.tags), one.paths, one.size]) + "\n"


def _read(line: str) -> Snapshot:
    name, at, host, tags, paths, size = json.loads(line)
    return Snapshot(name, float(at), host, frozenset(tags), tuple(paths), size)
