"""Where one machine lies on this machine, and the record that marks it as ours."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lab.errors import DriverError
from layers.l2_instantiate.home import Home, Kept, private_folder, read_kept, replace
from layers.l2_instantiate.login import Door
from layers.l2_instantiate.spec import Spec


class Settings(Kept):
    """What the machine is started with."""

    cpu: int
    memory: int
    disks: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    user: str
    authorized_keys: tuple[str, ...] = ()
    firmware: str | None = None
    isolated: bool = False

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
            isolated=spec.isolated,
        )


class Record(Kept):
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

    @property
    def door(self) -> Door:
        """Where the lab comes in."""
        return Door(self.port, self.settings.user, self.host_key)


@dataclass(frozen=True)
class Folder(Home):
    """The paths of one machine that is a QEMU process."""

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

    def read(self) -> Record | None:
        """The record; ``None`` where there is none that can be read."""
        return read_kept(self.record, Record)

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
