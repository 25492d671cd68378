"""The cluster: all that is in it, and the next free VMID."""

from __future__ import annotations

from typing import Any

from tests.standins.proxmox.calls import Call, answers, refused

from .guest_lists import resource
from .nodes import memory_used


@answers("GET", "/cluster/nextid")
def next_id(call: Call) -> Any:
    wanted = call.number("vmid")
    if wanted is None:
        return str(call.world.free_id())
    if wanted in call.world.guests:
        raise refused(vmid=f"VM {wanted} already exists")
    return str(wanted)


@answers("GET", "/cluster/resources")
def resources(call: Call) -> Any:
    wanted = call.get("type")
    found: list[dict[str, Any]] = []
    if wanted in {None, "vm"}:
        found += [
            resource(call.world, guest)
            for guest in call.world.guests.values()
            if call.may(guest.path, "VM.Audit")
        ]
    if wanted in {None, "node"}:
        found += [_node(call, one) for one in call.world.nodes.values()]
    if wanted in {None, "storage"}:
        found += _storages(call)
    if wanted is None:
        found += _pools(call)
    if wanted in {None, "sdn"}:
        found += _zones(call)
    return found


@answers("GET", "/cluster/status")
def status(call: Call) -> Any:
    names = list(call.world.nodes)
    found: list[dict[str, Any]] = []
    if len(names) > 1:
        found.append(
            {
                "id": "cluster",
                "name": "lab",
                "nodes": len(names),
                "quorate": 1,
                "type": "cluster",
                "version": len(names),
            }
        )
    for number, node in enumerate(call.world.nodes.values(), 1):
        found.append(
            {
                "id": f"node/{node.name}",
                "ip": f"10.99.0.{number}",
                "level": "",
                "local": int(number == 1),
                "name": node.name,
                "nodeid": number,
                "online": int(node.online),
                "type": "node",
            }
        )
    return found


@answers("GET", "/cluster/ha/resources")
def ha_resources(call: Call) -> Any:
    return list(call.world.ha.values())


@answers("POST", "/cluster/ha/resources")
def add_ha(call: Call) -> Any:
    sid = _sid(call["sid"])
    if sid in call.world.ha:
        raise refused(sid=f"resource ID '{sid}' already defined")
    found: dict[str, Any] = {"sid": sid, "type": sid.partition(":")[0], "state": "started"}
    call.world.ha[sid] = found | {
        key: value for key, value in call.parameters.items() if key != "sid"
    }


@answers("GET", "/cluster/ha/resources/{sid}")
def ha_resource(call: Call) -> Any:
    found = call.world.ha.get(_sid(call["sid"]))
    if found is None:
        raise refused(sid=f"no such resource '{call['sid']}'")
    return found


@answers("DELETE", "/cluster/ha/resources/{sid}")
def remove_ha(call: Call) -> Any:
    if call.world.ha.pop(_sid(call["sid"]), None) is None:
        raise refused(sid=f"no such resource '{call['sid']}'")


def _sid(text: str) -> str:
    return text if ":" in text else f"vm:{text}"


def _node(call: Call, node: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": f"node/{node.name}",
        "node": node.name,
        "status": call.world.node_status(node),
        "type": "node",
    }
    if found["status"] == "online" and call.may(f"/nodes/{node.name}", "Sys.Audit"):
        found |= {
            "cgroup-mode": 2,
            "cpu": 0.01,
            "disk": 39 << 30,
            "level": "",
            "maxcpu": node.cpus,
            "maxdisk": 94 << 30,
            "maxmem": node.memory,
            "mem": memory_used(call, node),
            "uptime": 3000,
        }
    return found


def _storages(call: Call) -> list[dict[str, Any]]:
    world = call.world
    found = []
    for storage in world.storages.values():
        if not call.may(f"/storage/{storage.name}", "Datastore.Audit", "Datastore.AllocateSpace"):
            continue
        for node in world.nodes.values():
            if not storage.serves(node.name):
                continue
            known = world.node_status(node) == "online"
            one: dict[str, Any] = {
                "content": ",".join(sorted(storage.content)),
                "id": f"storage/{node.name}/{storage.name}",
                "node": node.name,
                "plugintype": storage.kind,
                "shared": int(storage.shared),
                "status": "available" if known else "unknown",
                "storage": storage.name,
                "type": "storage",
            }
            if known:
                one |= {
                    "disk": world.volumes.used(storage, node.name),
                    "maxdisk": storage.total,
                }
            found.append(one)
    return found


def _pools(call: Call) -> list[dict[str, Any]]:
    return [
        {"id": f"/pool/{name}", "pool": name, "type": "pool"}
        for name in call.world.pools
        if call.may(f"/pool/{name}", "Pool.Audit")
    ]


def _zones(call: Call) -> list[dict[str, Any]]:
    return [
        {
            "id": f"network/{node.name}/zone/localnetwork",
            "network": "localnetwork",
            "network-type": "zone",
            "node": node.name,
            "status": "ok",
            "type": "network",
        }
        for node in call.world.nodes.values()
        if call.may("/sdn/zones/localnetwork", "SDN.Audit")
    ]
