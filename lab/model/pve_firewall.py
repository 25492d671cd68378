"""Whether the firewall of a cluster of Proxmox VE is on, and how it is switched on."""

from __future__ import annotations

from dataclasses import dataclass

SWITCH_ON = (
    "pvesh set /cluster/firewall/options --enable 1   (as root, on the node. It then counts for "
    "all of the cluster: its nodes let in ssh and 8006 from their own network, and nothing else "
    "that no rule allows)"
)
SWITCH_NODE_ON = "pvesh set /nodes/{node}/firewall/options --enable 1   (as root, on the node)"
ELSEWHERE = "or drill it elsewhere: --sandbox docker, or --sandbox qemu"


@dataclass(frozen=True, slots=True)
class FirewallState:
    """Of a cluster, and of one of its nodes; ``None``: the token may not see it."""

    cluster: bool | None
    node: bool | None

    @property
    def is_on(self) -> bool:
        """Whether rules of machines on that node are kept."""
        return self.cluster is True and self.node is True


__all__ = ["ELSEWHERE", "SWITCH_NODE_ON", "SWITCH_ON", "FirewallState"]
