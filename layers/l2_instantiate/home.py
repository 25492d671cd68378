"""Where a host's machine keeps things on this machine, whatever it is made of."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.layer import Workspace

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600


class Kept(BaseModel):
    """What is kept in a file. A newer Strata may have written more than this one reads."""

    model_config = ConfigDict(frozen=True, extra="ignore")


KeptT = TypeVar("KeptT", bound=Kept)


class DiskMark(Kept):
    """``<disk>.json``: whose disk it is, and whether it outlives its machine."""

    lab: str
    host: str
    disk: str
    durable: bool


@dataclass(frozen=True)
class Home:
    """The paths of one machine. Nothing here touches them but the methods that say so."""

    workspace: Workspace
    host: str

    @property
    def home(self) -> Path:
        """Everything that goes with the machine."""
        return self.workspace.state / "machines" / self.host

    @property
    def disks(self) -> Path:
        """Disks with a life of their own."""
        return self.workspace.state / "disks" / self.host

    @property
    def host_keys(self) -> Path:
        """The machine's SSH identity, which outlives a rebuild."""
        # Below "hosts", so that no host's name can clash with the lab's own key.
        return self.workspace.state / "keys" / "hosts" / self.host

    @property
    def login_key(self) -> Path:
        """The key that the lab logs in with, one for all its machines."""
        return self.workspace.state / "keys" / "lab"

    @property
    def record(self) -> Path:
        """The mark."""
        return self.home / "machine.json"

    def disk_mark(self, name: str) -> Path:
        """That disk's mark."""
        return self.disks / f"{name}.json"

    def read_mark(self, name: str) -> DiskMark | None:
        """That disk's mark; ``None`` where there is none that can be read."""
        return read_kept(self.disk_mark(name), DiskMark)

    def write_mark(self, name: str, *, durable: bool) -> None:
        """Keep whose disk it is, and whether it outlives its machine."""
        private_folder(self.disks)
        mark = DiskMark(lab=self.workspace.lab, host=self.host, disk=name, durable=durable)
        replace(self.disk_mark(name), mark.model_dump_json().encode())


def read_kept(path: Path, model: type[KeptT]) -> KeptT | None:
    """What the file keeps; ``None`` where there is none that can be read."""
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def private_folder(path: Path) -> None:
    """That folder, and all that lead to it, for this user alone."""
    missing = [p for p in (path, *path.parents) if not p.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def replace(path: Path, content: bytes) -> None:
    """Write a private file, whole or not at all, also across a power cut."""
    # several hosts of a run may write the same one at once
    new = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
