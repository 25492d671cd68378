"""The section ``machine``: a virtual machine, or a container of Proxmox VE."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from lab.model.files import File, LabFile
from lab.model.proxmox import PoolName
from lab.model.units import Size, show_size
from layers.l2_instantiate.cards import Network
from layers.l2_instantiate.declared import Declared
from layers.l2_instantiate.ports import Ports

ROOT = "root"
VM = "vm"
LXC = "lxc"
_MIB = 1024**2
_SECTOR = 512
_LEAST_MEMORY = 128 * _MIB
# virtio-blk cuts a serial off at 20 bytes, and the serial is the disk's name in the guest.
_DISK_NAME = re.compile(r"^[a-z][a-z0-9-]{0,19}$")
_RESERVED = {"seed"}
_USER = re.compile(r"^[a-z_][a-z0-9_-]{0,31}$")
_TAG = re.compile(r"^[a-z0-9_][a-z0-9_.+-]*$")
_VZTMPL = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]*:vztmpl/[^/\s]+\.tar\.(gz|xz|zst)$")


System = Literal[
    "alpine",
    "archlinux",
    "centos",
    "debian",
    "devuan",
    "fedora",
    "gentoo",
    "nixos",
    "opensuse",
    "ubuntu",
    "unmanaged",
]


class Disk(Declared):
    """One disk. ``mount`` is L3's to carry out; here it only has to make sense."""

    size: Size
    durable: bool = Field(default=False, description="survives every rebuild of the machine")
    mount: str | None = Field(default=None, description="where the guest mounts it")

    @field_validator("size")
    @classmethod
    def _whole(cls, size: int) -> int:
        if size < _MIB or size % _SECTOR:
            raise ValueError("a disk is a whole number of 512-byte sectors, and at least 1MiB")
        return size

    @field_validator("mount")
    @classmethod
    def _absolute(cls, mount: str | None) -> str | None:
        if mount is not None and not mount.startswith("/"):
            raise ValueError(f"{mount!r} is not absolute: write it with a leading /")
        return mount


def _disks(disks: dict[str, Disk]) -> dict[str, Disk]:
    if ROOT not in disks:
        raise ValueError("a machine needs a disk named root: root: {size: 8GiB}")
    for name, disk in disks.items():
        if not _DISK_NAME.match(name) or name in _RESERVED:
            raise ValueError(
                f"{name!r} cannot be a disk's name: up to 20 of a-z, 0-9 and -, and not 'seed'"
            )
        twin = next((n for n, d in disks.items() if n < name and d.mount == disk.mount), None)
        if disk.mount is not None and twin is not None:
            raise ValueError(f"{twin} and {name} are both mounted at {disk.mount}")
    if disks[ROOT].durable:
        raise ValueError("root is rebuilt from the image: put what must last on a disk of its own")
    if disks[ROOT].mount not in {None, "/"}:
        raise ValueError("root is mounted at /: leave its mount out")
    return disks


def _public(keys: tuple[LabFile, ...]) -> tuple[LabFile, ...]:
    for key in keys:
        if b"PRIVATE KEY" in key.content:
            raise ValueError(f"{key.path} is a private key: name the .pub file beside it")
    return keys


def key_lines(keys: tuple[LabFile, ...]) -> tuple[str, ...]:
    """The lines of those key files, without blanks and comments."""
    lines = (line.strip() for key in keys for line in key.text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


class Login(Declared):
    """Who may log in from the first boot on, besides the lab itself."""

    user: str = "strata"
    authorized_keys: Annotated[tuple[File, ...], AfterValidator(_public)] = ()

    @field_validator("user")
    @classmethod
    def _plain(cls, user: str) -> str:
        if not _USER.match(user) or user == "root":
            raise ValueError(f"{user!r} cannot be the login: a plain user name, and not root")
        return user

    @property
    def key_lines(self) -> tuple[str, ...]:
        """The lines of all key files, without blanks and comments."""
        return key_lines(self.authorized_keys)


def _tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    for tag in tags:
        if not _TAG.match(tag):
            raise ValueError(
                f"{tag!r} cannot be a tag: lower-case letters, digits, and . _ + - inside"
            )
    return tuple(sorted(set(tags)))


class Start(Declared):
    """When the node starts it, and in which order with the others."""

    at_boot: bool = Field(default=True, description="started when its node has booted")
    order: int | None = Field(default=None, ge=0, description="lowest first; stopped the other way")
    up: int | None = Field(default=None, ge=0, description="seconds until the next one starts")
    down: int | None = Field(default=None, ge=0, description="seconds it is given to shut down")

    @model_validator(mode="after")
    def _has_an_order(self) -> Self:
        if self.order is None and (self.up is not None or self.down is not None):
            raise ValueError("up and down belong to an order: write order: 1 beside them")
        return self


class Made(Declared):
    """What virtual machines and containers have in common."""

    cpu: int = Field(default=1, ge=1, le=255, description="virtual processors")
    memory: Size
    disks: Annotated[dict[str, Disk], AfterValidator(_disks)]
    ports: Ports = ()
    network: Network | None = Field(default=None, description="provider kind proxmox: its card")
    tags: Annotated[tuple[str, ...], AfterValidator(_tags)] = Field(
        default=(), description="provider kind proxmox: besides those that are Strata's own"
    )
    pool: PoolName | None = Field(
        default=None, description="provider kind proxmox: left out, the provider's"
    )
    start: Start = Field(default=Start(), description="provider kind proxmox")
    protection: bool = Field(
        default=False, description="provider kind proxmox: the node itself refuses to remove it"
    )

    @field_validator("memory")
    @classmethod
    def _enough(cls, memory: int) -> int:
        if memory < _LEAST_MEMORY:
            raise ValueError(f"{show_size(memory)} is too little to boot: give it 512MiB or more")
        if memory % _MIB:
            raise ValueError(f"memory is a whole number of MiB: write {memory // _MIB}MiB")
        return memory


class Machine(Made):
    """A virtual machine; of a Docker provider, a container that behaves like one."""

    kind: Literal["vm"] = "vm"
    login: Login = Login()
    agent: bool = Field(default=True, description="provider kind proxmox: the guest has its agent")
    boot: tuple[str, ...] = Field(
        default=(ROOT,), description="provider kind proxmox: disks, or net, in this order"
    )

    @field_validator("kind", mode="before")
    @classmethod
    def _known(cls, kind: Any) -> Any:
        if kind != VM:
            raise ValueError(f"{kind!r} is no kind of machine: write vm, or lxc")
        return kind

    @model_validator(mode="after")
    def _boots(self) -> Self:
        known = {*self.disks, "net"}
        wrong = [name for name in self.boot if name not in known]
        if wrong or len(set(self.boot)) < len(self.boot) or not self.boot:
            raise ValueError(
                f"boot: {list(self.boot)} is no order to boot in: each once, of "
                f"{', '.join(sorted(known))}"
            )
        return self


class Keys(Declared):
    """Whose keys open a container's root account, besides the lab's own."""

    authorized_keys: Annotated[tuple[File, ...], AfterValidator(_public)] = ()

    @property
    def user(self) -> str:
        """Who logs in: Proxmox VE gives keys to root alone."""
        return "root"

    @property
    def key_lines(self) -> tuple[str, ...]:
        """The lines of all key files, without blanks and comments."""
        return key_lines(self.authorized_keys)


class Container(Made):
    """A system container (LXC) of Proxmox VE: ``kind: lxc``."""

    kind: Literal["lxc"]
    login: Keys = Keys()
    template: str = Field(
        description="a container template on the node: pveam list local",
        examples=["local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"],
    )
    system: System = Field(
        default="debian", description="what the template is: its network is set up accordingly"
    )
    swap: Size | None = Field(default=None, description="left out: none")
    nesting: bool = Field(default=True, description="systemd, or an engine, inside needs it")
    privileged: bool = Field(default=False, description="root inside is root of the node")
    host_key: str | None = Field(
        default=None, description="the one key that is accepted; left out: known_hosts decides"
    )

    @field_validator("template")
    @classmethod
    def _volume(cls, template: str) -> str:
        if not _VZTMPL.match(template):
            raise ValueError(
                f"{template!r} is not a container template: write it as pveam list shows it, "
                "local:vztmpl/NAME.tar.zst"
            )
        return template

    @model_validator(mode="after")
    def _mounted(self) -> Self:
        for name, disk in self.disks.items():
            if name != ROOT and disk.mount is None:
                raise ValueError(f"a container's disk {name} needs its place: mount: /srv")
        return self


def _kind(value: Any) -> str:
    kind = value.get("kind", VM) if isinstance(value, dict) else getattr(value, "kind", VM)
    return LXC if kind == LXC else VM


AnyMachine = Annotated[
    Annotated[Machine, Tag(VM)] | Annotated[Container, Tag(LXC)], Discriminator(_kind)
]
