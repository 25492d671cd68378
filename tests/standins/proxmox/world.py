"""What the stand-in's cluster holds: nodes, guests, storages and their volumes, pools, access."""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .access import Access
from .calls import ApiError
from .storages import Storage, Volumes
from .tasks import TaskBoard

GIB = 1 << 30
VERSION = {"release": "9.1", "repoid": "80cf92a64bef6889", "version": "9.1.5"}


@dataclass
class Node:
    """A machine of the cluster; what `network` holds is live, `changed` waits to be applied."""

    name: str
    online: bool = True
    cpus: int = 4
    memory: int = 16 * GIB
    network: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    clock_offset: int = 0


@dataclass
class Guest:
    """A VM or a container: its configuration as the file holds it, and what runs of it."""

    vmid: int
    node: str
    kind: str = "qemu"
    config: dict[str, str] = field(default_factory=dict)
    pending: dict[str, str | None] = field(default_factory=dict)
    forced: set[str] = field(default_factory=set)  # pending deletions that destroy
    snapshots: dict[str, dict[str, Any]] = field(default_factory=dict)
    running: bool = False
    started: float = 0.0
    pid: int = 0
    qmp: str = "stopped"
    listens: bool = True  # does the guest obey a shutdown?
    agent: bool = True  # does an agent answer, where the configuration enables one?
    addresses: list[str] | None = None  # what the agent says, where not the static ones
    mac_override: str | None = None
    flocked: bool = False  # somebody holds the lock file
    freezes_badly: bool = False  # does its agent fail to freeze the filesystems?
    cloudinit: dict[str, str] | None = None  # what the drive was last made from
    token: Any = None  # what the starter of real machines gave back

    @property
    def name(self) -> str:
        """The guest's name, or what the API shows instead."""
        key = "hostname" if self.kind == "lxc" else "name"
        return self.config.get(key) or f"{'CT' if self.kind == 'lxc' else 'VM'} {self.vmid}"

    @property
    def path(self) -> str:
        """Where the ACL knows it."""
        return f"/vms/{self.vmid}"

    @property
    def is_template(self) -> bool:
        """A template: cloned, never started."""
        return self.config.get("template") == "1"

    @property
    def digest(self) -> str:
        """The SHA-1 of the file, which changes with every written change."""
        lines = [f"{key}: {self.config[key]}" for key in sorted(self.config)]
        lines += [f"pending {key}: {self.pending[key]}" for key in sorted(self.pending)]
        lines += [f"[{name}]{snapshot}" for name, snapshot in sorted(self.snapshots.items())]
        return hashlib.sha1("\n".join(lines).encode()).hexdigest()

    def wanted(self) -> dict[str, str]:
        """The configuration with what is pending."""
        merged = dict(self.config)
        for key, value in self.pending.items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = value
        return merged

    def disks(self) -> Iterator[tuple[str, str]]:
        """Every key and volume that the configuration names, CD-ROMs too."""
        from .drives import drives_of  # drives know guests

        return drives_of(self.config)

    def check_lock(self) -> None:
        """Refuse while something else is at work on it."""
        if lock := self.config.get("lock"):
            raise ApiError(f"{'CT' if self.kind == 'lxc' else 'VM'} is locked ({lock})")

    def check_flock(self) -> None:
        """Refuse where the lock file is held."""
        if self.flocked:
            folder = "lxc/pve-config" if self.kind == "lxc" else "qemu-server/lock"
            raise ApiError(f"can't lock file '/var/lock/{folder}-{self.vmid}.conf' - got timeout")

    def check_digest(self, digest: str | None) -> None:
        """Refuse a digest of another state."""
        if digest and digest != self.digest:
            raise ApiError("checksum mismatch (file change by other user?)")


Starter = Callable[[Guest, dict[str, str], dict[str, Path]], Any]
Stopper = Callable[[Guest, Any], None]


class World:
    """One cluster, and the lock that everybody who changes it holds."""

    def __init__(self, folder: Path, *, task_seconds: float, patience: float = 1.0) -> None:
        from .firewall import Firewalls  # firewalls know guests

        self.lock = threading.RLock()
        self.folder = folder
        self.random = random.Random(0)
        self.access = Access()
        self.tasks = TaskBoard(self.lock, task_seconds)
        self.nodes: dict[str, Node] = {}
        self.guests: dict[int, Guest] = {}
        self.storages: dict[str, Storage] = {}
        self.volumes = Volumes(self)
        self.pools: dict[str, dict[str, Any]] = {}
        self.ha: dict[str, dict[str, Any]] = {}
        self.firewalls = Firewalls()
        self.fingerprint = ""
        self.patience = patience  # how long a second is, where a guest is waited for
        # The real one takes settings in the order of a hash, another in every process. It matters
        # where a boot order and a new CD drive come together: the later of the two wins.
        self.boot_first = False
        self.daemon_down = False
        self.statistics = True  # does pvestatd run?
        self.real_disks = False
        self.on_start: Starter | None = None
        self.on_stop: Stopper | None = None
        self.backup_seconds = 0.0  # how long a backup writes
        self.in_backup: Callable[[Guest], None] | None = None  # called while one is written
        self._pids = itertools.count(400)

    def add_node(self, name: str, **fields: Any) -> Node:
        """A node with one bridge, vmbr0."""
        node = self.nodes[name] = Node(name, **fields)
        number = len(self.nodes)
        self.add_bridge(name, "vmbr0", cidr=f"10.99.0.{number}/24")
        return node

    def node_status(self, node: Node) -> str:
        """Unknown as long as no statistics come in."""
        if not self.statistics:
            return "unknown"
        return "online" if node.online else "offline"

    def add_bridge(self, node: str, name: str, *, vlan_aware: bool = True, cidr: str = "") -> None:
        """A bridge that is up."""
        bridge: dict[str, Any] = {
            "active": 1,
            "autostart": 1,
            "bridge_fd": "0",
            "bridge_ports": "",
            "bridge_stp": "off",
            "families": ["inet"],
            "iface": name,
            "method": "static" if cidr else "manual",
            "method6": "manual",
            "priority": 3 + len(self.nodes[node].network),
            "type": "bridge",
        }
        if vlan_aware:
            bridge |= {"bridge_vids": "2-4094", "bridge_vlan_aware": 1}
        if cidr:
            address, _, bits = cidr.partition("/")
            bridge |= {"address": address, "cidr": cidr, "netmask": bits}
        self.nodes[node].network[name] = bridge

    def add_storage(self, name: str, kind: str = "dir", **fields: Any) -> Storage:
        """A storage of every node, unless `nodes` says of which."""
        storage = self.storages[name] = Storage(name, kind, **fields)
        return storage

    def guest(self, vmid: int, node: str, kind: str = "qemu") -> Guest:
        """A guest of a node; refuses as the API does where it is not there."""
        guest = self.guests.get(vmid)
        if guest is None or guest.node != node or guest.kind != kind:
            folder = "lxc" if kind == "lxc" else "qemu-server"
            raise ApiError(f"Configuration file 'nodes/{node}/{folder}/{vmid}.conf' does not exist")
        return guest

    def storage(self, name: str, node: str | None = None) -> Storage:
        """A storage, as seen from a node."""
        storage = self.storages.get(name)
        if storage is None:
            raise ApiError(f"storage '{name}' does not exist")
        if storage.disabled:
            raise ApiError(f"storage '{name}' is disabled")
        if node and not storage.serves(node):
            raise ApiError(f"storage '{name}' is not available on node '{node}'")
        return storage

    def free_id(self) -> int:
        """The lowest free VMID; reserves nothing, as the real one reserves nothing."""
        return next(number for number in itertools.count(100) if number not in self.guests)

    def new_mac(self) -> str:
        """An address with the project's own prefix."""
        tail = [self.random.randrange(256) for _ in range(3)]
        return "BC:24:11:" + ":".join(f"{one:02X}" for one in tail)

    def new_uuid(self) -> str:
        """A UUID."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def new_pid(self) -> int:
        """A process id that nobody has."""
        return next(self._pids)

    def pool_of(self, vmid: int) -> str | None:
        """The pool that a guest is in."""
        return self.access.pool_of.get(f"/vms/{vmid}")

    def now(self) -> int:
        """Seconds since the epoch."""
        return int(time.time())

    def remove_guest(self, guest: Guest, *, purge: bool) -> None:
        """Take a guest's configuration away, and what refers to it where it is purged."""
        self.guests.pop(guest.vmid, None)
        self.access.pool_of.pop(guest.path, None)
        self.firewalls.remove(guest.vmid)
        self.access.grants = [one for one in self.access.grants if one.path != guest.path]
        if purge:
            self.ha.pop(f"{'ct' if guest.kind == 'lxc' else 'vm'}:{guest.vmid}", None)

    def volume_users(self, volid: str) -> list[tuple[Guest, str]]:
        """Who names a volume in his configuration, and where."""
        return [
            (guest, key)
            for guest in self.guests.values()
            for key, used in guest.disks()
            if used == volid
        ]
