"""The folder of templates: found, locked, put in place whole, deleted when nobody uses them.

images/<name>/disk.qcow2       read-only; the overlays of machines lie on it
images/<name>/definition.json  what it was made from, when, and how large the disk must be
images/<name>/baseline.json    what it holds
images/<name>/build.log        what mmdebstrap said
images/<name>/users/<host>     written by whoever puts a machine on it
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from lab.model.baseline import Baseline
from layers.l1_image import tree
from layers.l1_image.buildroom import BuildRoom
from layers.l1_image.spec import Definition


class Named(Protocol):
    """What a template is called and was made from: a spec, or a capture."""

    @property
    def name(self) -> str:
        """The template's name."""
        ...

    @property
    def definition(self) -> Definition:
        """What went in."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """One template that is there."""

    name: str
    definition: Definition
    size: int
    damaged: str
    users: tuple[str, ...]
    made: str = ""
    captured: str = ""


class Images(BuildRoom):
    """All templates of one lab on this machine."""

    def disk(self, name: str) -> Path:
        """Where a template's disk is, or will be."""
        return self.folder / name / "disk.qcow2"

    def find(self, name: str) -> Kept | None:
        """That template, or ``None``."""
        folder = self.folder / name
        try:
            kept = json.loads((folder / "definition.json").read_bytes())
            definition, size = Definition.model_validate(kept["definition"]), int(kept["size"])
            made, captured = str(kept.get("made", "")), str(kept.get("captured", ""))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, ValidationError):
            return None
        damage, users = self._damage(name, size), self._users(name)
        return Kept(name, definition, size, damage, users, made, captured)

    def baseline(self, name: str) -> Baseline | None:
        """What was recorded when it was made."""
        try:
            return Baseline.model_validate_json((self.folder / name / "baseline.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def all(self) -> Iterator[Kept]:
        """Every template that this lab made."""
        try:
            names = sorted(p.name for p in self.folder.iterdir() if not p.name.startswith("."))
        except FileNotFoundError:
            return
        for name in names:
            kept = self.find(name)
            if kept is not None:
                yield kept

    def used_by(self, host: str) -> Kept | None:
        """The template that this host's machine lies on."""
        return next((kept for kept in self.all() if host in kept.users), None)

    def place(
        self,
        named: Named,
        built: Path,
        baseline: Baseline,
        log: Path | None = None,
        *,
        captured: str = "",
    ) -> None:
        """Put a finished disk in its place, with its records, at once or not at all."""
        ready = built / "ready"
        ready.mkdir(mode=0o755)
        disk = ready / "disk.qcow2"
        (built / "disk.qcow2").rename(disk)
        disk.chmod(0o444)
        record = {
            "name": named.name,
            "lab": self._workspace.lab,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "size": disk.stat().st_size,
            "definition": named.definition.model_dump(mode="json"),
            **({"captured": captured} if captured else {}),
        }
        (ready / "definition.json").write_text(json.dumps(record, indent=1))
        (ready / "baseline.json").write_text(baseline.model_dump_json())
        if log is not None and log.exists():
            (ready / "build.log").write_bytes(log.read_bytes())
        for path in (*ready.iterdir(), ready):
            _flush(path)
        place = self.folder / named.name
        if place.exists():
            place.rename(built / "replaced")
        ready.rename(place)
        _flush(self.folder)

    def borrow(self, name: str, built: Path) -> bool:
        """Share that template of the lab that lends to this one: the same files, no second copy."""
        theirs, ready = self._lent(name), built / "borrowed"
        if theirs is None:
            return False
        try:
            ready.mkdir(mode=0o755)
            for file in theirs.iterdir():
                if file.is_file():
                    os.link(file, ready / file.name)
        except OSError:
            return False
        place = self.folder / name
        if place.exists():
            place.rename(built / "replaced")
        ready.rename(place)
        return True

    def is_lent(self, name: str) -> bool:
        """Whether the lab that lends to this one has that template, whole."""
        return self._lent(name) is not None

    def _lent(self, name: str) -> Path | None:
        lender = self._workspace.lender
        if lender is None:
            return None
        theirs = lender / self.folder.name / name
        try:
            size = int(json.loads((theirs / "definition.json").read_bytes())["size"])
            whole = (theirs / "disk.qcow2").stat().st_size == size
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return theirs if whole else None

    def delete(self, name: str) -> None:
        """Delete a template that nobody uses; one that got a user meanwhile stays."""
        with self.try_lock(name) as locked:
            if not locked or self._users(name):
                return
            leaving = self.leftover(name)
            with contextlib.suppress(FileNotFoundError):
                (self.folder / name).rename(leaving)
            tree.remove(leaving)

    def _damage(self, name: str, size: int) -> str:
        try:
            there = self.disk(name).stat().st_size
        except OSError:
            return "its disk is gone"
        return "" if there == size else f"its disk has {there} bytes instead of {size}"

    def _users(self, name: str) -> tuple[str, ...]:
        try:
            return tuple(sorted(p.name for p in (self.folder / name / "users").iterdir()))
        except OSError:
            return ()


def _flush(path: Path) -> None:
    """Wait until the file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
