"""Pure: what a machine of Proxmox VE is where it must reach nothing: a drill's twin of it."""

from __future__ import annotations

from typing import TypeVar

from lab.model.proxmox import DRILL_TAG, TAG, host_tag, twin_tag
from layers.l2_instantiate.cards import Network
from layers.l2_instantiate.machines import Made, Start

MadeT = TypeVar("MadeT", bound=Made)

OPTIONS = {"enable": "1", "policy_in": "DROP", "policy_out": "DROP", "macfilter": "1", "radv": "0"}
"""Of the machine's own firewall, besides those that follow from its address."""


def alone(machine: MadeT) -> MadeT:
    """The same machine, behind the firewall; with a MAC of its own, and nothing that outlives it.

    The node does not start it, and does not protect it; tags of the user may mean something to
    others (a backup of all that has them), so it has none.
    """
    network = machine.network or Network()
    card = network.model_copy(update={"firewall": True, "mac": None})
    update = {"network": card, "start": Start(at_boot=False), "protection": False, "tags": ()}
    return machine.model_copy(update=update)


def called(host: str, *, isolated: bool) -> str:
    """The machine's name on the node."""
    return f"drill-{host}" if isolated else host


def marks(host: str, *, isolated: bool = False) -> tuple[str, ...]:
    """The tags that say it is ours, for people and their searches; the description decides."""
    return (TAG, DRILL_TAG, twin_tag(host)) if isolated else (TAG, host_tag(host))


def options(address: str) -> dict[str, str]:
    """Its firewall's options; ``address`` is its own, ``""`` where DHCP gives one.

    Neighbours are asked for by NDP only where it has an address of version 6.
    """
    told = {"dhcp": str(int(not address)), "ndp": str(int(":" in address))}
    return {**OPTIONS, **told}


def door(runner: str) -> dict[str, str]:
    """The one rule: who may log in."""
    return {
        "type": "in",
        "action": "ACCEPT",
        "proto": "tcp",
        "dport": "22",
        "source": runner,
        "enable": "1",
    }
