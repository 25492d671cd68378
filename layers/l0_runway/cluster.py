"""Pure: what a host asks of a cluster of Proxmox VE, and what one was found to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from lab.model.proxmox import LXC, TAG, Proxmox, host_tag
from lab.model.units import parse_size


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Card(_Value):
    """Where a machine's network card is plugged in; ``vlan`` ``None``: untagged."""

    bridge: str
    vlan: int | None = None


class Needs(_Value):
    """What a host asks of a cluster.

    Attributes:
        image: The base of its template (``"debian-13"``, a URL); ``""``: it needs none.
        machine: ``"vm"``, ``"lxc"``, or ``""`` where only a template is wanted.
        vztmpl: The storage that a container's template lies on.
        memory, disks: Bytes; 0 = not known. ``root``: of the disks, the one that it boots from.
        pool: Where the machine is put; ``""``: nowhere.
    """

    provider: Proxmox
    image: str = ""
    machine: str = ""
    vztmpl: str = ""
    cpu: int = 1
    memory: int = 0
    disks: int = 0
    root: int = 0
    card: Card
    pool: str = ""

    @property
    def downloads(self) -> bool:
        """Whether the node fetches the image by itself."""
        return self.image.startswith(("http://", "https://")) and self.image.lower().endswith(
            (".qcow2", ".raw")
        )

    @property
    def backups(self) -> str:
        """The storage for captured boot disks; ``""``: none are captured."""
        return (self.machine == "vm" and self.provider.backup_storage) or ""

    @classmethod
    def of(cls, provider: Proxmox, machine: Any, image: Any) -> Needs:
        """What can be understood of the sections; the rest is left to the layers that own it."""
        network = _mapping(_mapping(machine).get("network"))
        disks = _mapping(_mapping(machine).get("disks"))
        kind = str(_mapping(machine).get("kind", "vm")) if isinstance(machine, dict) else ""
        template = str(_mapping(machine).get("template", ""))
        cpu, pool = _mapping(machine).get("cpu"), _mapping(machine).get("pool")
        vlan = network.get("vlan")
        return cls(
            provider=provider,
            image="" if kind == LXC else _base(_mapping(image).get("base")),
            machine=kind,
            vztmpl=template.partition(":")[0] if kind == LXC else "",
            cpu=cpu if isinstance(cpu, int) else 1,
            memory=_size(_mapping(machine).get("memory")),
            disks=sum(_size(_mapping(disk).get("size")) for disk in disks.values()),
            root=_size(_mapping(disks.get("root")).get("size")),
            card=Card(
                bridge=str(network.get("bridge") or provider.bridge),
                vlan=vlan if isinstance(vlan, int) else provider.vlan,
            ),
            pool=pool if isinstance(pool, str) else (provider.pool or ""),
        )


class Store(_Value):
    """A storage as the node sees it; sizes in bytes."""

    content: tuple[str, ...] = ()
    active: bool = True
    free: int = 0
    total: int = 0


class Bridge(_Value):
    """A bridge of the node. ``vids``: the VLANs that it carries, as it writes them."""

    vlan_aware: bool = True
    vids: str = "2-4094"


class Missing(_Value):
    """Privileges that the token lacks on a path."""

    path: str
    privileges: tuple[str, ...]
    role: str


class Cluster(_Value):
    """A cluster of Proxmox VE, as far as one host's needs go.

    Attributes:
        needs: What was asked, so that the findings follow from this value alone.
        problem: Why nothing else could be seen, and ``hint``, what mends that; ``""``: it could.
        who: The token's name.
        powerless: The token may do nothing at all: nothing else was believed then.
        nodes: Node to whether it is online.
        cpus, memory_free, memory_total: The node's; 0 where the token may not see them.
        bridges: By name; ``None`` where they could not be listed.
        exists: The host's own machine is there.
        namesakes: VMIDs of machines that have its name and are not this lab's.
        templates: Templates of ours that are there, by name.
        ids_left, template_ids_left: VMIDs that nobody uses, of those that are ours.
        skew: Seconds by which the node's clock is ahead.
    """

    needs: Needs
    problem: str = ""
    hint: str = ""
    version: str = ""
    who: str = ""
    powerless: bool = False
    missing: tuple[Missing, ...] = ()
    nodes: Mapping[str, bool] = {}
    cpus: int = 0
    memory_free: int = 0
    memory_total: int = 0
    stores: Mapping[str, Store] = {}
    bridges: Mapping[str, Bridge] | None = None
    exists: bool = False
    namesakes: tuple[int, ...] = ()
    templates: tuple[str, ...] = ()
    ids_left: int = 0
    template_ids_left: int = 0
    skew: float = 0.0


def is_host(tags: frozenset[str], host: str) -> bool:
    """Whether a machine's tags say that it is that host's."""
    return {TAG, host_tag(host)} <= tags


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _base(value: Any) -> str:
    return str(_mapping(value).get("url") or value or "")


def _size(value: Any) -> int:
    try:
        return parse_size(value)
    except ValueError:
        return 0
