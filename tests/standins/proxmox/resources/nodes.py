"""Nodes: that they are there, how they do, their networks."""

from __future__ import annotations

import difflib
import time
from typing import Any

from tests.standins.proxmox.calls import Answer, ApiError, Call, answers, refused
from tests.standins.proxmox.world import VERSION, Node


@answers("GET", "/version")
def version(_: Call) -> Any:
    return VERSION


@answers("GET", "/nodes/{node}/version")
def node_version(_: Call) -> Any:
    return VERSION


@answers("GET", "/nodes")
def nodes(call: Call) -> Any:
    return [_listed(call, node) for node in call.world.nodes.values()]


@answers("GET", "/nodes/{node}/status")
def status(call: Call) -> Any:
    node = call.world.nodes[call["node"]]
    used = memory_used(call, node)
    return {
        "boot-info": {"mode": "legacy-bios"},
        "cpu": 0,
        "cpuinfo": {
            "cores": node.cpus,
            "cpus": node.cpus,
            "family": "6",
            "flags": "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov vmx",
            "hvm": "1",
            "mhz": "2400.000",
            "model": "Stand-in CPU",
            "sockets": 1,
            "user_hz": 100,
            "vendor": "GenuineIntel",
        },
        "current-kernel": {
            "machine": "x86_64",
            "release": "6.17.2-1-pve",
            "sysname": "Linux",
            "version": "#1 SMP PREEMPT_DYNAMIC PMX 6.17.2-1",
        },
        "idle": 0,
        "ksm": {"shared": 0},
        "kversion": "Linux 6.17.2-1-pve #1 SMP PREEMPT_DYNAMIC PMX 6.17.2-1",
        "loadavg": ["0.10", "0.08", "0.05"],
        "memory": {
            "available": node.memory - used,
            "free": node.memory - used,
            "total": node.memory,
            "used": used,
        },
        "pveversion": f"pve-manager/{VERSION['version']}/{VERSION['repoid']}",
        "rootfs": {"avail": 50 << 30, "free": 55 << 30, "total": 94 << 30, "used": 39 << 30},
        "swap": {"free": 0, "total": 0, "used": 0},
        "uptime": 3000,
        "wait": 0,
    }


@answers("GET", "/nodes/{node}/time")
def node_time(call: Call) -> Any:
    now = int(time.time()) + call.world.nodes[call["node"]].clock_offset
    return {"localtime": now, "time": now, "timezone": "UTC"}


@answers("GET", "/nodes/{node}/dns")
def dns(_: Call) -> Any:
    return {"dns1": "10.99.0.1", "search": "lab.example"}


@answers("GET", "/nodes/{node}/network")
def network(call: Call) -> Any:
    node = call.world.nodes[call["node"]]
    wanted = call.get("type")
    found = []
    for name, interface in _coming(node).items():
        if not call.may(f"/nodes/{node.name}", "Sys.Audit") and not call.may(
            f"/sdn/zones/localnetwork/{name}", "SDN.Audit", "SDN.Use"
        ):
            continue
        bridge = wanted in {"any_bridge", "any_local_bridge"} and interface["type"] == "bridge"
        if wanted is None or bridge or interface["type"] == wanted:
            found.append(interface)
    beside = {"changes": _diff(node)} if node.changed else {}
    return Answer(found, beside)


@answers("GET", "/nodes/{node}/network/{iface}")
def interface(call: Call) -> Any:
    found = _coming(call.world.nodes[call["node"]]).get(call["iface"])
    if found is None:
        raise refused(iface="interface does not exist")
    return found


@answers("POST", "/nodes/{node}/network")
def create_interface(call: Call) -> Any:
    node = call.world.nodes[call["node"]]
    if call["iface"] in _coming(node):
        raise refused(iface="interface already exists")
    node.changed[call["iface"]] = _interface(call, {"priority": 3 + len(node.network)})


@answers("PUT", "/nodes/{node}/network/{iface}")
def change_interface(call: Call) -> Any:
    node = call.world.nodes[call["node"]]
    before = _coming(node).get(call["iface"])
    if before is None:
        raise refused(iface="interface does not exist")
    node.changed[call["iface"]] = _interface(call, before)


@answers("DELETE", "/nodes/{node}/network/{iface}")
def delete_interface(call: Call) -> Any:
    node = call.world.nodes[call["node"]]
    if call["iface"] not in _coming(node):
        raise refused(iface="interface does not exist")
    node.changed[call["iface"]] = None


@answers("PUT", "/nodes/{node}/network")
def apply_network(call: Call) -> Any:
    node = call.world.nodes[call["node"]]

    def work(_: object) -> None:
        node.network = {name: {**one, "active": 1} for name, one in _coming(node).items()}
        node.changed.clear()

    return call.world.tasks.start(node.name, "srvreload", "networking", call.who, work)


@answers("DELETE", "/nodes/{node}/network")
def revert_network(call: Call) -> Any:
    call.world.nodes[call["node"]].changed.clear()


def _listed(call: Call, node: Node) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": f"node/{node.name}",
        "node": node.name,
        "ssl_fingerprint": call.world.fingerprint,
        "status": call.world.node_status(node),
        "type": "node",
    }
    if found["status"] == "online" and call.may(f"/nodes/{node.name}", "Sys.Audit"):
        found |= {
            "level": "",
            "cpu": 0.01,
            "disk": 39 << 30,
            "maxcpu": node.cpus,
            "maxdisk": 94 << 30,
            "maxmem": node.memory,
            "mem": memory_used(call, node),
            "uptime": 3000,
        }
    return found


def memory_used(call: Call, node: Node) -> int:
    """Bytes that the node's own system and its running guests take."""
    guests = [one for one in call.world.guests.values() if one.node == node.name and one.running]
    return (1 << 30) + sum(int(one.config.get("memory", "512")) << 20 for one in guests)


def _coming(node: Node) -> dict[str, dict[str, Any]]:
    coming = dict(node.network)
    for name, one in node.changed.items():
        if one is None:
            coming.pop(name, None)
        else:
            coming[name] = one
    return coming


def _interface(call: Call, before: dict[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in before.items() if key != "active"}
    for key, value in call.parameters.items():
        if key in {"node", "delete"}:
            continue
        number = key in {"autostart", "bridge_vlan_aware", "vlan-id", "mtu", "ovs_tag"}
        found[key] = int(value) if number else value
    for key in (call.get("delete") or "").split(","):
        found.pop(key, None)
    if cidr := found.get("cidr"):
        found["address"], _, found["netmask"] = str(cidr).partition("/")
    found.setdefault("autostart", 0)
    found["method"] = "static" if found.get("address") else "manual"
    found.setdefault("method6", "manual")
    found.setdefault("families", ["inet"])
    if found.get("type") == "bridge":
        found = {"bridge_fd": "0", "bridge_ports": "", "bridge_stp": "off"} | found
    return found


def _diff(node: Node) -> str:
    def text(interfaces: dict[str, dict[str, Any]]) -> list[str]:
        lines = []
        for name in sorted(interfaces):
            one = interfaces[name]
            if one.get("autostart"):
                lines.append(f"auto {name}\n")
            lines.append(f"iface {name} inet {one['method']}\n")
            lines += [
                f"\t{key.replace('_', '-')} {one[key]}\n"
                for key in ("address", "bridge_ports", "bridge_stp", "bridge_fd", "bridge_vids")
                if one.get(key) not in {None, ""}
            ]
            lines.append("\n")
        return lines

    names = ("/etc/network/interfaces", "/etc/network/interfaces.new")
    return "".join(difflib.unified_diff(text(node.network), text(_coming(node)), *names))


@answers("GET", "/nodes/{node}")
def node_index(call: Call) -> Any:
    if call["node"] not in call.world.nodes:
        raise ApiError("no such node")
    return [{"name": one} for one in ("qemu", "lxc", "storage", "network", "tasks", "status")]
