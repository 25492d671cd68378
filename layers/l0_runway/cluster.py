"""Pure: what a host asks of a cluster of Proxmox VE, and what one was found to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from lab.model.proxmox import LXC, TAG, Proxmox, host_tag, twin_tag
from lab.model.units import parse_size

_GIB = 1 << 30
_TEMPLATE = 2 * _GIB  # its image on its way in, and its disk
_FIRST_BOOT = _GIB


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
        ids: VMIDs that it takes: its own, and one for the shelf of its other disks.
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
    ids: int = 1

    @property
    def isolated(self) -> bool:
        """Whether it is a drill's twin: it takes its lab's template as it is there."""
        return self.provider.isolated

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

    def written(self, *, exists: bool, template: bool) -> tuple[dict[str, int], dict[str, int]]:
        """What making it writes at once, and what its disks can become: bytes by storage.

        ``template``: that is made, too.
        """
        provider = self.provider
        first: dict[str, int] = {}
        if template:
            first = dict.fromkeys((provider.storage, provider.template_storage), _TEMPLATE)
        if not self.machine or exists:
            return first, {}
        boot = min(_FIRST_BOOT, self.disks)
        first[provider.storage] = first.get(provider.storage, 0) + boot
        return first, {provider.storage: self.disks}

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
            image="" if kind == LXC or provider.isolated else _base(_mapping(image).get("base")),
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
            ids=1 + (len(disks) > 1),
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


class Beside(_Value):
    """What the other hosts of a run, whose machines are not there yet, ask of the same node.

    Attributes:
        hosts: Their names.
        memory: Bytes.
        first, grown: Bytes by storage: what is written at once, and what disks can become.
        ids, template_ids: VMIDs.
    """

    hosts: tuple[str, ...] = ()
    memory: int = 0
    first: Mapping[str, int] = {}
    grown: Mapping[str, int] = {}
    ids: int = 0
    template_ids: int = 0


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
        firewall, node_firewall: Whether it is on; ``None``: not asked, or not to be seen.
        beside: What else this run makes there.
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
    firewall: bool | None = None
    node_firewall: bool | None = None
    beside: Beside = Beside()


def is_host(tags: frozenset[str], host: str, *, isolated: bool = False) -> bool:
    """Whether a machine's tags say that it is that host's, or (``isolated``) its twin's."""
    return {TAG, twin_tag(host) if isolated else host_tag(host)} <= tags


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _base(value: Any) -> str:
    return str(_mapping(value).get("url") or value or "")


def _size(value: Any) -> int:
    try:
        return parse_size(value)
    except ValueError:
        return 0
