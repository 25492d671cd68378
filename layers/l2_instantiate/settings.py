"""Pure: what a machine of Proxmox VE is set to besides its size, in words that a plan shows.

The keys are those of ``Observed.settings`` and of a plan's fields. What changes while the machine
runs is in :data:`ONLINE`; everything else takes effect at its next start.
"""

from __future__ import annotations

import hashlib
from typing import Any

from lab.model.plan import JSON
from layers.l2_instantiate.isolation import called, marks
from layers.l2_instantiate.machines import Machine, Start
from layers.l2_instantiate.proxmox import ProxmoxProvider
from layers.l2_instantiate.wanted import Machine as Target

ONLINE = frozenset(
    {"name", "tags", "pool", "start", "protection", "bridge", "vlan", "mac", "firewall"}
)
LATER = " at the next start"
"""Ends the name of a field whose live value is right and whose pending one is not."""


def settings(target: Target) -> dict[str, JSON]:
    """What observing finds once nothing is left to do."""
    machine, provider = target.spec.machine, on(target)
    network = machine.network
    found: dict[str, Any] = {
        "name": called(target.host.name, isolated=target.spec.isolated),
        "bridge": (network and network.bridge) or provider.bridge,
        "vlan": (network and network.vlan) or provider.vlan,
        "mac": (network and network.mac) or mac(provider, target.host.name),
        "firewall": bool(network and network.firewall),
        "address": address_line(target),
        "tags": sorted({*machine.tags, *marks(target.host.name, isolated=target.spec.isolated)}),
        "pool": machine.pool or provider.pool,
        "start": start_line(machine.start),
        "protection": machine.protection,
    }
    if isinstance(machine, Machine):
        found |= {"cpu type": provider.cpu_type, "agent": machine.agent, "boot": [*machine.boot]}
    else:
        found |= {"swap": int(machine.swap or 0), "nesting": machine.nesting}
    return found


def on(target: Target) -> ProxmoxProvider:
    """The provider of a machine of Proxmox VE; MUST NOT be asked of another."""
    if target.spec.proxmox is None:
        raise TypeError("this machine is not one of Proxmox VE")
    return target.spec.proxmox


def start_line(start: Start) -> str:
    """``at boot, order 2, up 30, down 60``."""
    words = ["at boot" if start.at_boot else "by hand"]
    pairs = (("order", start.order), ("up", start.up), ("down", start.down))
    return ", ".join([*words, *(f"{name} {value}" for name, value in pairs if value is not None)])


def address_line(target: Target) -> str:
    """What the guest is told about its network, in one line."""
    network = target.spec.machine.network
    words = [target.host.address or "by DHCP"]
    if network is not None and network.gateway:
        words.append(f"gateway {network.gateway}")
    if network is not None and network.dns:
        words.append(f"dns {' '.join(network.dns)}")
    if network is not None and network.domain:
        words.append(f"domain {network.domain}")
    return ", ".join(words)


def mac(provider: ProxmoxProvider, host: str) -> str:
    """The card's address: the same for the same host, so that a rebuild keeps its DHCP lease.

    A twin has another one than the host that it stands for.
    """
    ids = provider.vmids.drills if provider.isolated else provider.vmids.machines
    whose = f"twin {host}" if provider.isolated else host
    digest = hashlib.sha256(f"{provider.url} {ids} {whose}".encode()).digest()
    return "BC:24:11:" + ":".join(f"{byte:02X}" for byte in digest[:3])


__all__ = [
    "LATER",
    "ONLINE",
    "address_line",
    "mac",
    "marks",
    "on",
    "settings",
    "start_line",
]
