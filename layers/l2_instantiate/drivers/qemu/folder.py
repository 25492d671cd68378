"""Where one machine lies on this machine, and the record that marks it as ours."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.errors import DriverError
from lab.layer import Workspace
from layers.l2_instantiate.spec import Spec

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600


class _Kept(BaseModel):
    # A newer Strata may have written more than this one reads.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Settings(_Kept):
    """What the machine is started with."""

    cpu: int
    memory: int
    disks: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    user: str
    authorized_keys: tuple[str, ...] = ()
    firmware: str | None = None

    @classmethod
    def of(cls, spec: Spec) -> Settings:
        """What the persona declares."""
        machine = spec.machine
        return cls(
            cpu=machine.cpu,
            memory=machine.memory,
            disks=tuple(sorted(n for n in machine.disks if n != "root")),
            ports=tuple(str(p) for p in sorted(machine.ports)),
            user=machine.login.user,
            authorized_keys=machine.login.key_lines,
            firmware=spec.firmware,
        )


class Record(_Kept):
    """``machine.json``: the mark, what the root disk was made from, what it starts with.

    ``stamp`` tells whether the template's file is still the one under the root disk. What follows
    ``settings`` belongs to the latest start: the login and public keys that the guest was given,
    the size that it found its root disk to have, and whether a login was seen to work.
    """

    lab: str
    host: str
    uuid: str
    port: int
    generation: int = 0
    template_name: str = ""
    template: str = ""
    stamp: str = ""
    settings: Settings
    user: str = ""
    authorized_keys: tuple[str, ...] = ()
    host_key: str = ""
    identity: str = ""
    root_at_boot: int = 0
    answered: bool = False


class DiskMark(_Kept):
    """``<disk>.json``: whose disk it is, and whether it outlives its machine."""

    lab: str
    host: str
    disk: str
    durable: bool


@dataclass(frozen=True)
class Folder:
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

    @property
    def root(self) -> Path:
        """The root disk."""
        return self.home / "root.qcow2"

    @property
    def seed(self) -> Path:
        """What the guest reads about itself at boot."""
        return self.home / "seed.img"

    @property
    def firmware_vars(self) -> Path:
        """Where the firmware keeps its settings."""
        return self.home / "firmware-vars.fd"

    @property
    def serial(self) -> Path:
        """The serial console since the latest start."""
        return self.home / "serial.log"

    @property
    def pidfile(self) -> Path:
        """Written by QEMU, gone when it ends in order."""
        return self.home / "qemu.pid"

    @property
    def socket(self) -> Path:
        """QEMU's monitor. Short: a unix socket's path has room for 107 bytes."""
        name = hashlib.sha256(self.host.encode()).hexdigest()[:12]
        return self.workspace.runtime / f"{name}.qmp"

    def disk(self, name: str) -> Path:
        """That disk's file."""
        return self.root if name == "root" else self.disks / f"{name}.qcow2"

    def disk_mark(self, name: str) -> Path:
        """That disk's mark."""
        return self.disks / f"{name}.json"

    def read(self) -> Record | None:
        """The record; ``None`` where there is none that can be read."""
        try:
            return Record.model_validate_json(self.record.read_bytes())
        except (OSError, ValidationError):
            return None

    def read_mark(self, name: str) -> DiskMark | None:
        """That disk's mark; ``None`` where there is none that can be read."""
        try:
            return DiskMark.model_validate_json(self.disk_mark(name).read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, record: Record) -> None:
        """Keep the record, whole or not at all; makes the folder."""
        private_folder(self.home)
        replace(self.record, record.model_dump_json(indent=2).encode())

    def require(self) -> Record:
        """The record of a machine that must be there and ours. Raises DriverError."""
        record = self.read()
        if record is None or record.lab != self.workspace.lab:
            raise DriverError(
                f"Unable to change {self.host}: {self.record} is gone or is not this lab's.",
                hint=f"lab plan host={self.host}",
            )
        return record


def private_folder(path: Path) -> None:
    """That folder, and all that lead to it, for this user alone."""
    missing = [p for p in (path, *path.parents) if not p.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def replace(path: Path, content: bytes) -> None:
    """Write a private file, whole or not at all, also across a power cut."""
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
