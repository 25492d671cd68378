"""Pure: which privileges a host's plan needs on a cluster of Proxmox VE, and where.

This table is the least-privilege role of ``docs/proxmox.md``: a test holds the two together, and
another that exactly these suffice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from layers.l0_runway.cluster import Needs

MACHINES = frozenset(
    {
        "VM.Allocate",
        "VM.Audit",
        "VM.Clone",
        "VM.Config.CDROM",
        "VM.Config.CPU",
        "VM.Config.Disk",
        "VM.Config.HWType",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.Options",
        "VM.PowerMgmt",
    }
)
TEMPLATES = frozenset(
    {
        "VM.Allocate",
        "VM.Audit",
        "VM.Config.CPU",
        "VM.Config.Disk",
        "VM.Config.HWType",
        "VM.Config.Memory",
        "VM.Config.Options",
    }
)
AGENT = {8: "VM.Monitor", 9: "VM.GuestAgent.Audit"}
"""What asking a guest's agent takes: 9 split it up."""

SPACE = frozenset({"Datastore.AllocateSpace"})
DISKS = frozenset({"Datastore.AllocateSpace", "Datastore.Audit"})
"""Audit: a disk that goes from one machine to its successor is looked at first."""

FILES = frozenset({"Datastore.Allocate", "Datastore.AllocateTemplate", "Datastore.Audit"})
"""To bring files in, and to take them away again."""

READING = frozenset({"Datastore.Audit"})
ARCHIVES = frozenset({"Datastore.AllocateSpace"})
"""To write backups, and to list, mark and remove those of machines that it may back up."""

BACKUP = frozenset({"VM.Backup"})
CLEANED = frozenset({"VM.Backup", "VM.Config.CDROM", "VM.Config.Network", "VM.PowerMgmt"})
"""What it takes besides to make a template of a captured boot disk: it runs once, to be cleaned."""

NODE = frozenset({"Sys.Audit"})
"""Of a drill on ``/``, too: whether the cluster's firewall is on is told to nobody else."""

DOWNLOADS = frozenset({"Sys.AccessNetwork"})
NETWORK = frozenset({"SDN.Use"})
POOL = frozenset({"Pool.Audit"})


@dataclass(frozen=True, slots=True)
class Right:
    """Privileges on a path, and the role that docs/proxmox.md gives them by."""

    path: str
    privileges: frozenset[str]
    role: str


def needed(needs: Needs, version: str) -> tuple[Right, ...]:
    """All of them, one a path, sorted by path."""
    found: dict[str, Right] = {}
    for right in _each(needs, _major(version)):
        before = found.get(right.path)
        more = right.privileges | (before.privileges if before else frozenset())
        found[right.path] = Right(right.path, more, before.role if before else right.role)
    return tuple(sorted(found.values(), key=lambda right: right.path))


def _each(needs: Needs, major: int) -> Iterator[Right]:
    provider = needs.provider
    if needs.machine:
        agent = AGENT.get(major, AGENT[max(AGENT)])
        place = f"/pool/{needs.pool}" if needs.pool else "/vms"
        more = frozenset({agent} if needs.machine == "vm" else ())
        more |= BACKUP if needs.backups else frozenset()
        yield Right(place, MACHINES | more, "StrataMachines")
        if needs.pool:
            yield Right(place, POOL, "StrataMachines")
        yield Right(f"/storage/{provider.storage}", DISKS, "StrataDisks")
        bridge = f"/sdn/zones/localnetwork/{needs.card.bridge}"
        tagged = "" if needs.card.vlan is None else f"/{needs.card.vlan}"
        yield Right(f"{bridge}{tagged}", NETWORK, "StrataNetwork")
        if needs.machine == "vm":
            yield Right(f"/storage/{provider.seed_storage}", FILES, "StrataFiles")
        else:
            yield Right(f"/storage/{needs.vztmpl}", READING, "StrataFiles")
    if needs.image:
        place = f"/pool/{provider.pool}" if provider.pool else "/vms"
        more = CLEANED if needs.backups else frozenset()
        yield Right(place, TEMPLATES | more, "StrataMachines")
        yield Right(f"/storage/{provider.storage}", SPACE, "StrataDisks")
        yield Right(f"/storage/{provider.template_storage}", FILES, "StrataFiles")
        if needs.downloads:
            yield Right(f"/nodes/{provider.node}", DOWNLOADS, "StrataNode")
    if needs.backups:
        yield Right(f"/storage/{needs.backups}", ARCHIVES, "StrataBackups")
    yield Right(f"/nodes/{provider.node}", NODE, "StrataNode")
    if needs.isolated:
        yield Right("/", NODE, "StrataNode")


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else max(AGENT)
