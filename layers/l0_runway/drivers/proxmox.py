"""A cluster of Proxmox VE: what a host asks of it, and what is there. Looks, and never touches.

What all hosts of a run share is asked once: the calls do not grow with the hosts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lab.clients.proxmox import Api, Privileges, Refused, Vm, apis
from lab.clients.proxmox.firewall import firewall_state
from lab.errors import DriverError, TransportError
from lab.layer import Target, Workspace
from lab.model.host import Host
from lab.model.plan import Change
from lab.model.proxmox import TAG, TEMPLATE_TAG, IdRange, host_tag
from layers.l0_runway.cluster import (
    Beside,
    Bridge,
    Cluster,
    Missing,
    Needs,
    Store,
    is_host,
)
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
        cluster = self._cluster(needs, target.host.name, target.inputs.hosts)
        return Observed(needs=target.spec, cluster=cluster)

    def apply(self, target: Target[Spec, Inputs], change: Change) -> None:
        """Nothing: this layer plans no changes."""

    def _cluster(self, needs: Needs, host: str, run: Sequence[Host]) -> Cluster:
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
        others = [h for h in run if h.name != host]
        found = {**_node(api, needs), **_firewall(api, needs), **_machines(api, needs, host)}
        found["beside"] = _beside(api, needs, others)
        return seen.model_copy(update=found)


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


def _firewall(api: Api, needs: Needs) -> dict[str, bool | None]:
    """Of a twin alone: nobody else's plan rests on it."""
    if not needs.isolated:
        return {}
    state = firewall_state(api, needs.provider.node)
    return {"firewall": state.cluster, "node_firewall": state.node}


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
    twin = needs.isolated
    named = () if twin else (vm for vm in there if vm.name == host)
    return {
        "exists": any(is_host(vm.tags, host, isolated=twin) for vm in there),
        "namesakes": tuple(sorted(vm.vmid for vm in named if not is_host(vm.tags, host))),
        "templates": _templates(there, needs),
        "ids_left": _left(ids.drills if twin else ids.machines, numbers),
        "template_ids_left": _left(ids.templates, numbers),
    }


def _templates(there: Sequence[Vm], needs: Needs) -> tuple[str, ...]:
    base = needs.image and needs.image.rsplit("/", 1)[-1].split(".")[0].lower()
    ours = (vm for vm in there if vm.is_template and {TAG, TEMPLATE_TAG} <= vm.tags)
    return tuple(sorted(vm.name for vm in ours if vm.name.startswith(base)))


def _beside(api: Api, needs: Needs, others: Sequence[Host]) -> Beside:
    """What the other hosts of the run make on that node that is not there yet, in all."""
    wanted = [(host.name, n) for host in others for n in _needs_of(host) if _same_node(n, needs)]
    if not wanted:
        return Beside()
    there = api.vms()
    tags = frozenset[str]().union(*(vm.tags for vm in there))
    bases = {needs.image}  # each template is made once
    names, memory, ids, templates = [], 0, 0, 0
    first: Counter[str] = Counter()
    grown: Counter[str] = Counter()
    for name, other in wanted:
        template = other.image not in bases and not _templates(there, other)
        bases.add(other.image)
        exists = not other.machine or host_tag(name) in tags
        written = other.written(exists=exists, template=template)
        first.update(written[0])
        grown.update(written[1])
        templates += template
        if not exists:
            names.append(name)
            memory, ids = memory + other.memory, ids + other.ids
    return Beside(
        hosts=tuple(names), memory=memory, first=first, grown=grown, ids=ids,
        template_ids=templates,
    )  # fmt: skip


def _needs_of(host: Host) -> Iterator[Needs]:
    for part in host.parts.get("l0_runway", ()):
        if isinstance(part.spec, Spec) and part.spec.cluster is not None:
            yield part.spec.cluster


def _same_node(one: Needs, other: Needs) -> bool:
    a, b = one.provider, other.provider
    return (a.url, a.node) == (b.url, b.node)


def _left(ours: IdRange, taken: set[int]) -> int:
    return len(ours.numbers) - sum(number in ours for number in taken)
