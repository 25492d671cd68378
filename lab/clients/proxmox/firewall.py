"""Whether the firewall of a cluster, and of a node, is on: without both no rule of a machine is."""

from __future__ import annotations

from lab.clients.proxmox.api import Api
from lab.clients.proxmox.failures import Refused
from lab.model.pve_firewall import FirewallState

_FORBIDDEN = 403


def firewall_state(api: Api, node: str) -> FirewallState:
    """Off is the cluster's default, on is a node's."""
    return FirewallState(
        _enabled(api, "cluster/firewall/options", default=0),
        _enabled(api, f"nodes/{node}/firewall/options", default=1),
    )


def _enabled(api: Api, path: str, *, default: int) -> bool | None:
    try:
        found = api.once(path, doing="see whether the firewall is on") or {}
    except Refused as refused:
        if refused.status == _FORBIDDEN:
            return None
        raise
    return str(found.get("enable", default)) not in {"0", ""}


__all__ = ["firewall_state"]
