"""Guests in lists, and how one does at the moment."""

from __future__ import annotations

import re
import time
from typing import Any

from tests.standins.proxmox import sizes
from tests.standins.proxmox.calls import Call, answers
from tests.standins.proxmox.world import Guest, World


@answers("GET", "/nodes/{node}/qemu")
def vms(call: Call) -> Any:
    return [_listed(call.world, one) for one in _seen(call, "qemu")]


@answers("GET", "/nodes/{node}/lxc")
def containers(call: Call) -> Any:
    return [{**_listed(call.world, one), "type": "lxc"} for one in _seen(call, "lxc")]


@answers("GET", "/nodes/{node}/qemu/{vmid}/status/current")
def current(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    found = _listed(call.world, guest) | {
        "clipboard": None,
        "ha": {"managed": int(f"vm:{guest.vmid}" in call.world.ha)},
        "qmpstatus": guest.qmp if guest.running else "stopped",
    }
    found.pop("template", None)
    if guest.is_template:
        found["template"] = 1
    if _agent(guest.config):
        found["agent"] = 1
    if lock := guest.config.get("lock"):
        found["lock"] = lock
    if guest.running:
        found |= {f"pressure{one}": 0 for one in _PRESSURES}
        found["nics"] = {
            f"tap{guest.vmid}i{number}": {"netin": 110, "netout": 0}
            for number in _numbers(guest.config, "net")
        }
    return found


@answers("GET", "/nodes/{node}/lxc/{vmid}/status/current")
def container_current(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"], "lxc")
    found = _listed(call.world, guest) | {
        "ha": {"managed": int(f"ct:{guest.vmid}" in call.world.ha)},
        "type": "lxc",
    }
    if lock := guest.config.get("lock"):
        found["lock"] = lock
    return found


def resource(world: World, guest: Guest) -> dict[str, Any]:
    """As `/cluster/resources` lists it."""
    found: dict[str, Any] = {
        "cpu": 0,
        "disk": 0,
        "diskread": 0,
        "diskwrite": 0,
        "id": f"{guest.kind}/{guest.vmid}",
        "maxcpu": _cpus(guest.config),
        "maxdisk": _boot_size(world, guest),
        "maxmem": _memory(guest.config),
        "mem": 0,
        "name": guest.name,
        "netin": 0,
        "netout": 0,
        "node": guest.node,
        "status": "running" if guest.running else "stopped",
        "template": int(guest.is_template),
        "type": guest.kind,
        "uptime": _uptime(guest),
        "vmid": guest.vmid,
    }
    if guest.kind == "qemu":
        found["memhost"] = 0
    node = world.nodes.get(guest.node)
    if node and not node.online:
        found["status"] = "unknown"
    extra = {
        "pool": world.pool_of(guest.vmid),
        "tags": guest.config.get("tags"),
        "lock": guest.config.get("lock"),
    }
    return found | {key: value for key, value in extra.items() if value}


_PRESSURES = ("cpufull", "cpusome", "iofull", "iosome", "memoryfull", "memorysome")


def _seen(call: Call, kind: str) -> list[Guest]:
    return [
        one
        for one in call.world.guests.values()
        if one.kind == kind and one.node == call["node"] and call.may(one.path, "VM.Audit")
    ]


def _listed(world: World, guest: Guest) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cpu": 0,
        "cpus": _cpus(guest.config),
        "disk": 0,
        "maxdisk": _boot_size(world, guest),
        "maxmem": _memory(guest.config),
        "mem": 0,
        "name": guest.name,
        "netin": 0,
        "netout": 0,
        "status": "running" if guest.running else "stopped",
        "uptime": _uptime(guest),
        "vmid": guest.vmid,
    }
    if guest.kind == "qemu":
        found["memhost"] = 0
    else:
        found |= {"swap": 0, "maxswap": int(guest.config.get("swap", "512")) << 20}
    if any(re.fullmatch(r"serial\d+", key) for key in guest.config):
        found["serial"] = 1
    if guest.running:
        found["pid"] = guest.pid
    if guest.is_template:
        found["template"] = 1
    if tags := guest.config.get("tags"):
        found["tags"] = tags
    return found


def _cpus(config: dict[str, str]) -> int:
    whole = int(config.get("sockets", "1")) * int(config.get("cores", "1"))
    return int(config.get("vcpus", whole))


def _memory(config: dict[str, str]) -> int:
    return int(config.get("memory", "512").removeprefix("current=")) << 20


def _uptime(guest: Guest) -> int:
    return int(time.time() - guest.started) if guest.running else 0


def _numbers(config: dict[str, str], stem: str) -> list[int]:
    found = [re.fullmatch(rf"{stem}(\d+)", key) for key in config]
    return sorted(int(one[1]) for one in found if one)


def _agent(config: dict[str, str]) -> bool:
    return bool(re.match(r"(?:enabled=)?1(?:,|$)", config.get("agent", "")))


def _boot_size(world: World, guest: Guest) -> int:
    """The size of the disk that it boots from."""
    order = re.search(r"order=([^,]*)", guest.config.get("boot", ""))
    first = order[1].split(";") if order else []
    for key in [*first, "rootfs", "scsi0", "virtio0", "sata0", "ide0"]:
        value = guest.config.get(key, "")
        if key.startswith("net") or "media=cdrom" in value:
            continue
        if found := re.search(r"(?:^|,)size=([0-9.]+[KMGT]?)", value):
            return sizes.parse(found[1])
    return 0
