"""A cluster of Proxmox VE: what a host asks of it, and what is there. Looks, and never touches.

What all hosts of a run share is asked once: the calls do not grow with the hosts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lab.clients.proxmox import Api, Privileges, Refused, apis
from lab.errors import DriverError, TransportError
from lab.layer import Target, Workspace
from lab.model.plan import Change
from lab.model.proxmox import TAG, TEMPLATE_TAG, IdRange
from layers.l0_runway.cluster import Bridge, Cluster, Missing, Needs, Store, is_host
from layers.l0_runway.rights import needed
from layers.l0_runway.spec import Inputs, Observed, Spec


class ProxmoxDriver:
    """Proxmox VE 8 and 9, through its API."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def observe(self, target: Target[Spec, Inputs]) -> Observed:
        """Everything that the host's plan will need there.

        Raises TransportError where the node cannot be reached; that it refuses us is a finding.
        """
        needs = target.spec.cluster
        assert needs is not None  # noqa: S101 (its parts have it)
        return Observed(needs=target.spec, cluster=self._cluster(needs, target.host.name))

    def apply(self, target: Target[Spec, Inputs], change: Change) -> None:
        """Nothing: this layer plans no changes."""

    def _cluster(self, needs: Needs, host: str) -> Cluster:
        try:
            api = self._workspace.resource(apis).at(needs.provider)
            version, held = api.version(), api.privileges()
        except TransportError:
            raise
        except DriverError as error:
            return Cluster(needs=needs, problem=error.message, hint=error.hint)
        seen = Cluster(
            needs=needs,
            version=version,
            who=api.who,
            powerless=held.is_powerless,
            missing=_missing(needs, version, held),
            skew=api.skew or 0.0,
        )
        if held.is_powerless:
            return seen
        return seen.model_copy(update={**_node(api, needs), **_machines(api, needs, host)})


def _missing(needs: Needs, version: str, held: Privileges) -> tuple[Missing, ...]:
    found = []
    for right in needed(needs, version):
        lacking = held.lacking(right.path, right.privileges)
        if lacking:
            found.append(Missing(path=right.path, privileges=lacking, role=right.role))
    return tuple(found)


def _node(api: Api, needs: Needs) -> dict[str, Any]:
    name = needs.provider.node
    nodes = {
        str(row["node"]): row.get("status") != "offline"
        for row in api.once("nodes", doing="list the nodes")
    }
    if not nodes.get(name):
        return {"nodes": nodes}
    stores = {
        s.name: Store(
            content=tuple(sorted(s.content)), active=s.is_active, free=s.free, total=s.total
        )
        for s in api.storages(name)
    }
    status = _seen(lambda: api.once(f"nodes/{name}/status", doing=f"ask how {name} is")) or {}
    memory = status.get("memory", {})
    return {
        "nodes": nodes,
        "stores": stores,
        "bridges": _seen(lambda: _bridges(api, name)),
        "cpus": int(status.get("cpuinfo", {}).get("cpus", 0)),
        "memory_free": int(memory.get("available", memory.get("free", 0))),
        "memory_total": int(memory.get("total", 0)),
    }


def _bridges(api: Api, node: str) -> dict[str, Bridge]:
    path = f"nodes/{node}/network"
    rows = api.once(path, doing=f"list the bridges of {node}", type="any_bridge")
    return {
        str(row["iface"]): Bridge(
            # A network of SDN knows its VLAN itself and says nothing about others.
            vlan_aware=row.get("type") == "vnet" or str(row.get("bridge_vlan_aware", 0)) == "1",
            vids=str(row.get("bridge_vids") or "2-4094"),
        )
        for row in rows
    }


def _seen(look: Callable[[], Any]) -> Any:
    """What it finds; ``None`` where the token may not look, which its privileges tell already."""
    try:
        return look()
    except Refused as refused:
        if refused.status == 403:  # noqa: PLR2004
            return None
        raise


def _machines(api: Api, needs: Needs, host: str) -> Mapping[str, Any]:
    ids = needs.provider.vmids
    there = api.vms()
    numbers = {vm.vmid for vm in there}
    base = needs.image and needs.image.rsplit("/", 1)[-1].split(".")[0].lower()
    return {
        "exists": any(is_host(vm.tags, host) for vm in there),
        "namesakes": tuple(
            sorted(vm.vmid for vm in there if vm.name == host and not is_host(vm.tags, host))
        ),
        "templates": tuple(
            sorted(
                vm.name
                for vm in there
                if vm.is_template and {TAG, TEMPLATE_TAG} <= vm.tags and vm.name.startswith(base)
            )
        ),
        "ids_left": _left(ids.machines, numbers),
        "template_ids_left": _left(ids.templates, numbers),
    }


def _left(ours: IdRange, taken: set[int]) -> int:
    return len(ours.numbers) - sum(number in ours for number in taken)
