"""Snapshots of guests: taken, listed, gone back to, deleted."""

from __future__ import annotations

from typing import Any

from tests.standins.proxmox import drives
from tests.standins.proxmox.calls import ApiError, Call, answers
from tests.standins.proxmox.tasks import Task, TaskError
from tests.standins.proxmox.world import Guest

_VM = "/nodes/{node}/qemu/{vmid}/snapshot"
_CT = "/nodes/{node}/lxc/{vmid}/snapshot"


@answers("GET", _VM, _CT)
def snapshots(call: Call) -> Any:
    guest = _guest(call)
    found = []
    for name, one in guest.snapshots.items():
        listed = {"description": one["description"], "name": name, "snaptime": one["snaptime"]}
        if guest.kind == "qemu":
            listed["vmstate"] = int(one["vmstate"])
        if one["parent"]:
            listed["parent"] = one["parent"]
        found.append(listed)
    current: dict[str, Any] = {
        "description": "You are here!",
        "digest": guest.digest,
        "name": "current",
        "running": int(guest.running),
    }
    if parent := guest.config.get("parent"):
        current["parent"] = parent
    return [*found, current]


@answers("POST", _VM, _CT)
def take(call: Call) -> Any:
    guest = _guest(call)
    name = call["snapname"]
    if name in {"current", "pending"}:
        raise ApiError(f"unable to use snapshot name '{name}' (reserved name)")

    def work(task: Task) -> None:
        guest.check_lock()
        if guest.is_template:
            raise TaskError("you can't take a snapshot if it's a template")
        if name in guest.snapshots:
            raise TaskError(f"snapshot name '{name}' already used")
        for key, volid in guest.disks():
            if key in guest.config and not drives.parse(key, guest.config[key]).is_cdrom:
                task.say(f"snapshotting 'drive-{key}' ({volid})")
        guest.snapshots[name] = {
            "config": {key: value for key, value in guest.config.items() if key != "parent"},
            "description": call.get("description") or "",
            "parent": guest.config.get("parent"),
            "snaptime": call.world.now(),
            "vmstate": call.flag("vmstate"),
        }
        guest.config["parent"] = name

    return _start(call, guest, "snapshot", work)


@answers("DELETE", _VM + "/{snapname}", _CT + "/{snapname}")
def delete(call: Call) -> Any:
    guest = _guest(call)
    name = call["snapname"]

    def work(_: Task) -> None:
        guest.check_lock()
        gone = guest.snapshots.pop(name, None)
        if gone is None:
            raise TaskError(f"snapshot '{name}' does not exist")
        for one in (*guest.snapshots.values(), guest.config):
            if one.get("parent") == name:
                one["parent"] = gone["parent"]
        if guest.config.get("parent") is None:
            guest.config.pop("parent", None)

    return _start(call, guest, "delsnapshot", work)


@answers("POST", _VM + "/{snapname}/rollback", _CT + "/{snapname}/rollback")
def rollback(call: Call) -> Any:
    guest = _guest(call)
    name = call["snapname"]

    def work(_: Task) -> None:
        guest.check_lock()
        if name not in guest.snapshots:
            raise TaskError(f"snapshot '{name}' does not exist")
        guest.config = {**guest.snapshots[name]["config"], "parent": name}
        guest.pending.clear()
        guest.running = False

    return _start(call, guest, "rollback", work)


def _guest(call: Call) -> Guest:
    kind = "lxc" if call.path.startswith("/nodes/{node}/lxc") else "qemu"
    return call.world.guest(call.vmid, call["node"], kind)


def _start(call: Call, guest: Guest, what: str, work: Any) -> str:
    kind = f"{'vz' if guest.kind == 'lxc' else 'qm'}{what}"
    return call.world.tasks.start(guest.node, kind, str(guest.vmid), call.who, work)
