"""What this machine remembers of a template on a cluster: intentions first, then what came of them.

templates/<place>/<name>.json     written whole or not at all, before each step that it is about
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.model.baseline import Baseline
from lab.model.proxmox import Proxmox
from layers.l1_image.spec import Definition


class Record(BaseModel):
    """One template on one cluster.

    Attributes:
        place: Where (:attr:`Proxmox.place`).
        vmid: The VMID that it has, or that it will be tried with.
        volume: The image that was sent there, while it is there; ``""``: none.
        volume_size: Its size as the node tells it.
        size: Bytes of the template's disk image.
        baseline: What it holds; ``None``: nothing is known.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    place: str
    definition: Definition
    made: str = ""
    vmid: int | None = None
    volume: str = ""
    volume_size: int = 0
    size: int = 0
    baseline: Baseline | None = None


class Records:
    """All records of one lab."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "templates"

    def get(self, provider: Proxmox, name: str) -> Record | None:
        """What is known of a template there."""
        return _read(self._path(provider.place, name))

    def put(self, record: Record) -> Record:
        """Remember it from now on, also after a crash."""
        path = self._path(record.place, record.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(record.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        return record

    def without_image(self, record: Record) -> None:
        """The image that it was made from lies there no longer."""
        self.put(record.model_copy(update={"volume": "", "volume_size": 0}))

    def drop(self, place: str, name: str) -> None:
        """Forget it."""
        with contextlib.suppress(FileNotFoundError):
            self._path(place, name).unlink()

    def all(self) -> Iterator[Record]:
        """Every one of them."""
        for path in sorted(self.folder.glob("*/*.json")):
            record = _read(path)
            if record is not None:
                yield record

    def _path(self, place: str, name: str) -> Path:
        digest = hashlib.sha256(place.encode()).hexdigest()[:12]
        return self.folder / digest / f"{name}.json"


def now() -> str:
    """As UTC ISO-8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _read(path: Path) -> Record | None:
    try:
        return Record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
