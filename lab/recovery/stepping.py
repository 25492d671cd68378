"""What has been done of something long: written down, and durable, before the next step begins."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab import folders
from lab.errors import LabError

SCHEMA = "strata.steps/1"


@dataclass
class Steps:
    """The record of one rebuild, in a file.

    Attributes:
        hosts: In the order in which they are rebuilt.
        begun: Seconds since the epoch.
        lose: Sets of data whose loss was accepted, as ``host/set``.
        confirmed: Hosts whose names were typed.
        known: What has to be remembered between steps: ``host_key web1``.
        done: Step to the seconds that it took: ``"replace web1"``.
    """

    path: Path
    hosts: tuple[str, ...]
    begun: float
    lose: frozenset[str] = frozenset()
    confirmed: frozenset[str] = frozenset()
    known: dict[str, str] = field(default_factory=dict)
    done: dict[str, float] = field(default_factory=dict)

    def finish(self, step: str, seconds: float) -> None:
        """It is done, and stays so."""
        self.done[step] = round(seconds, 3)
        self.write()

    def write(self) -> None:
        """Whole or not at all; durable when this returns. Raises LabError."""
        said: dict[str, Any] = {"schema": SCHEMA, **asdict(self)}
        del said["path"]
        said["lose"], said["confirmed"] = sorted(self.lose), sorted(self.confirmed)
        new = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with new.open("w") as file:
                json.dump(said, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
            folders.flush(self.path.parent)
        except OSError as error:
            raise LabError(
                f"Unable to write down how far it came: {self.path}: {error.strerror}.",
                hint="make room or mend the disk, then the same command again",
            ) from error

    def end(self, name: str) -> Path:
        """All is done: kept under another name."""
        kept = self.path.with_name(name)
        self.path.replace(kept)
        folders.flush(kept.parent)
        return kept


def read(path: Path) -> Steps | None:
    """The record; ``None`` where there is none. Raises LabError where it cannot be read."""
    try:
        said = json.loads(path.read_text())
        return _steps(path, said)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"Unable to read how far a rebuild came: {path}: {error}.",
            hint=f"look at it; to begin again: mv {path} {path}.old",
        ) from error


def _steps(path: Path, said: dict[str, Any]) -> Steps:
    if said["schema"] != SCHEMA:
        raise ValueError("another version of Strata wrote it")
    return Steps(
        path=path,
        hosts=tuple(said["hosts"]),
        begun=float(said["begun"]),
        lose=frozenset(said["lose"]),
        confirmed=frozenset(said["confirmed"]),
        known=dict(said["known"]),
        done=dict(said["done"]),
    )


def unfinished(folder: Path, hosts: Iterable[str]) -> Steps | None:
    """The record of a rebuild of any of these hosts that has not ended."""
    wanted = set(hosts)
    for path in sorted(folder.glob("*.json")):
        found = read(path) if not path.stem.endswith("-done") else None
        if found is not None and wanted & set(found.hosts):
            return found
    return None


__all__ = ["SCHEMA", "Steps", "read", "unfinished"]
