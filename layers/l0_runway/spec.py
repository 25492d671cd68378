"""What a host will ask of this machine, and what this machine was found to be.

This layer owns no section. It reads the others' leniently: what is wrong in them is theirs to say.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, InstanceOf, Tag

from lab.model.host import Host
from lab.model.later import later
from lab.model.provider import OTHER, PROXMOX, variant
from lab.model.units import parse_size

if TYPE_CHECKING:
    from lab.model.proxmox import Proxmox
    from layers.l0_runway.cluster import Cluster, Needs
else:
    Proxmox = later("lab.model.proxmox:Proxmox")
    Cluster = later("layers.l0_runway.cluster:Cluster")
    Needs = later("layers.l0_runway.cluster:Needs")

_SHORT_PORT = re.compile(r"(?:(?P<bind>[0-9.]+):)?(?P<host>\d+):\d+(?:/(?P<protocol>tcp|udp))?\Z")
_HIGHEST_PORT = 65535
_LXC = "lxc"  # a container of Proxmox VE has no template that we build

Accelerator = Literal["kvm", "tcg"]


class _View(BaseModel):
    """A look at what belongs to another layer."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Provider(_View):
    """The provider's part that matters here."""

    kind: str = "qemu"
    accelerator: Any = None
    firmware: Any = None
    host: Any = None


AnyProvider = Annotated[
    Annotated[Provider, Tag(OTHER)] | Annotated[Proxmox, Tag(PROXMOX)],
    Discriminator(variant),
]


class Document(_View):
    """What this layer reads of a host's merged document."""

    provider: AnyProvider = Provider()
    machine: Any = None
    image: Any = None


class Port(BaseModel):
    """A port of this machine that the host wants."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: str = "tcp"
    address: str = "127.0.0.1"
    number: int


class Spec(BaseModel):
    """What the host needs of this machine.

    Attributes:
        emulator: It runs machines here.
        engine: The Docker engine that runs them as containers instead, ``""`` for the usual one.
        builds: The base of a template that may have to be built here (``"debian-13"``), or ``""``.
        accelerator: What the provider insists on, or ``"auto"``.
        firmware: UEFI firmware that the provider names, or ``""``.
        memory: Bytes of the machine; 0 = not known.
        disks: Bytes of all its disks together.
        ports: What it wants to listen on.
        tofu: Its machine is made by OpenTofu, or Terraform.
        cluster: What it asks of a cluster of Proxmox VE instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    emulator: bool = True
    engine: str | None = None
    builds: str = ""
    accelerator: Literal["auto", "kvm", "tcg"] = "auto"
    firmware: str = ""
    memory: int = 0
    disks: int = 0
    ports: tuple[Port, ...] = ()
    tofu: bool = False
    cluster: Needs | None = None

    @classmethod
    def of(cls, document: Document) -> Spec:
        """What can be understood of the document; the rest is left to the layers that own it."""
        provider = document.provider
        machine = document.machine if isinstance(document.machine, dict) else {}
        image = document.image if isinstance(document.image, dict) else {}
        base = image.get("base")
        if not isinstance(provider, Provider):
            builds = base if isinstance(base, str) and machine.get("kind") != _LXC else ""
            return cls(emulator=False, builds=builds, tofu=bool(machine))
        wanted = provider.accelerator
        if provider.kind == "docker":
            host = provider.host
            return cls(
                emulator=False,
                engine=host if isinstance(host, str) else "",
                builds=base if isinstance(base, str) else "",
                ports=_ports(machine.get("ports")),
            )
        firmware = provider.firmware
        disks = machine.get("disks")
        sizes = disks.values() if isinstance(disks, dict) else ()
        return cls(
            builds=base if isinstance(base, str) else "",
            accelerator="kvm" if wanted == "kvm" else "tcg" if wanted == "tcg" else "auto",
            firmware=firmware if isinstance(firmware, str) else "",
            memory=_size(machine.get("memory")),
            disks=sum(_size(d.get("size")) for d in sizes if isinstance(d, dict)),
            ports=_ports(machine.get("ports")),
        )


class Inputs(BaseModel):
    """From below nothing, this is the lowest layer; from the engine all ``hosts`` of the run."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    hosts: tuple[InstanceOf[Host], ...] = ()


class Tool(BaseModel):
    """A program or file that is needed, and the Debian package it comes in.

    ``how`` is the line that gets it, where it comes in none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    package: str = ""
    use: str
    how: str = ""


class Kvm(BaseModel):
    """Whether hardware acceleration works: ``usable`` only if guest code really ran."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Literal["usable", "absent", "denied", "broken", "unasked"] = "absent"
    why: str = ""


class Engine(BaseModel):
    """A Docker engine.

    Attributes:
        address: Where it was looked for.
        problem: Why it cannot be used, and ``hint``, what mends that; ``""`` = it can.
        system: What its containers run on: ``"linux"``.
        storage: Its storage driver.
        cannot_limit: What it accepts and discards: ``"memory"``, ``"cpu"``.
        folder: Where it keeps its things, and ``free``, bytes there (``None`` = not to be seen).
        running: Containers that run now, anybody's.
        watches: Inotify instances that all of them share (``None`` = not to be seen).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    problem: str = ""
    hint: str = ""
    version: str = ""
    system: str = "linux"
    storage: str = ""
    cannot_limit: tuple[str, ...] = ()
    folder: str = ""
    free: int | None = None
    running: int = 0
    watches: int | None = None


class TakenPort(BaseModel):
    """A wanted port that somebody else listens on; ``holder`` is ``""`` where we may not see it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    port: Port
    holder: str = ""


class Observed(BaseModel):
    """This machine, as far as the host's needs go.

    Attributes:
        needs: What was asked, so that the findings follow from this value alone.
        missing: Tools that are needed and not there.
        tools: Versions of those that are: ``{"qemu-system-x86_64": "7.2.22"}``.
        can_build: Templates can be built by this user; ``cannot_build`` says why not.
        disk_free: Bytes free where the lab keeps its disks, and ``folder``, where that is.
        disk_now: Bytes that the next run will write.
        disk_later: Bytes that the declared disks can still grow by.
        memory_free: Bytes; what this host's own running machine holds counts as free.
        cluster: The cluster of Proxmox VE that was looked at instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs: Spec
    missing: tuple[Tool, ...] = ()
    tools: dict[str, str] = {}
    can_build: bool = True
    cannot_build: str = ""
    kvm: Kvm = Kvm(verdict="usable")
    engine: Engine | None = None
    folder: str = ""
    disk_free: int = 0
    disk_now: int = 0
    disk_later: int = 0
    memory_free: int = 0
    memory_total: int = 0
    taken: tuple[TakenPort, ...] = ()
    cluster: Cluster | None = None

    @property
    def accelerator(self) -> Accelerator | None:
        """What machines will run on; ``None`` for containers."""
        wanted = self.needs.accelerator
        if self.needs.engine is not None:
            return None
        if wanted != "auto":
            return wanted
        return "kvm" if self.kvm.verdict == "usable" else "tcg"


class Outputs(BaseModel):
    """Handed up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accelerator: Accelerator | None = None


def _size(value: Any) -> int:
    try:
        return parse_size(value)
    except ValueError:
        return 0


def _ports(value: Any) -> tuple[Port, ...]:
    """Host ports of ``{18080: 8080}`` or ``["127.0.0.1:18080:8080/udp"]``."""
    found = []
    if isinstance(value, dict):
        entries = [f"{host}:{guest}" for host, guest in value.items()]
    else:
        entries = [str(v) for v in value] if isinstance(value, (list, tuple)) else []
    for entry in entries:
        match = _SHORT_PORT.match(entry)
        if match and 0 < int(match["host"]) <= _HIGHEST_PORT:
            found.append(
                Port(
                    protocol=match["protocol"] or "tcp",
                    address=match["bind"] or "127.0.0.1",
                    number=int(match["host"]),
                )
            )
    return tuple(found)
