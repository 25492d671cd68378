"""Guests on their way to another node."""

from __future__ import annotations

from typing import Any

from tests.standins.proxmox import drives
from tests.standins.proxmox.calls import ApiError, Call, answers, refused
from tests.standins.proxmox.storages import Volume
from tests.standins.proxmox.tasks import Task, TaskError
from tests.standins.proxmox.world import Guest

_VM = "/nodes/{node}/qemu/{vmid}/migrate"
_CT = "/nodes/{node}/lxc/{vmid}/migrate"


@answers("GET", _VM)
def conditions(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    local = [
        {
            "cdrom": int("media=cdrom" in guest.config.get(key, "")),
            "drivename": key,
            "size": volume.size,
            "volid": volume.volid,
        }
        for key, volume in _local(call, guest)
    ]
    others = [one for one in call.world.nodes if one != guest.node]
    return {
        "allowed_nodes": others,
        "has-dbus-vmstate": True,
        "local_disks": local,
        "local_resources": [],
        "mapped-resource-info": {},
        "mapped-resources": [],
        "not_allowed_nodes": {},
        "running": int(guest.running),
    }


@answers("POST", _VM)
def migrate(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    _check_target(call, guest)
    if guest.running:
        if not call.flag("online"):
            raise ApiError("can't migrate running VM without --online")
        if _local(call, guest) and not call.flag("with-local-disks"):
            raise ApiError(
                "can't live migrate attached local disks without with-local-disks option"
            )

    def work(task: Task) -> None:
        guest.check_lock()
        _move(call, task, guest, call.get("targetstorage"))

    return call.world.tasks.start(guest.node, "qmigrate", str(guest.vmid), call.who, work)


@answers("POST", _CT)
def migrate_container(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"], "lxc")
    _check_target(call, guest)
    if guest.running and not (call.flag("online") or call.flag("restart")):
        raise ApiError("can't migrate running container without --online or --restart")

    def work(task: Task) -> None:
        guest.check_lock()
        if guest.running and not call.flag("restart"):
            raise TaskError("lxc live migration is currently not implemented")
        _move(call, task, guest, call.get("target-storage"))

    return call.world.tasks.start(guest.node, "vzmigrate", str(guest.vmid), call.who, work)


def _check_target(call: Call, guest: Guest) -> None:
    target = call["target"]
    if target == guest.node:
        raise refused(target="target is local node.")
    if target not in call.world.nodes:
        raise ApiError(f"no such cluster node '{target}'")
    if not call.world.nodes[target].online:
        raise ApiError(f"node '{target}' is not online")
    guest.check_flock()
    guest.check_lock()


def _local(call: Call, guest: Guest) -> list[tuple[str, Volume]]:
    found = []
    for key, volid in guest.disks():
        volume = call.world.volumes.find(volid, guest.node)
        if volume and volume.node:
            found.append((key, volume))
    return found


def _move(call: Call, task: Task, guest: Guest, storages: str | None) -> None:
    world, target = call.world, call["target"]
    mapping = dict(one.partition(":")[::2] for one in (storages or "").split(",") if ":" in one)
    only = storages if storages and ":" not in storages and storages != "1" else None
    for key, volume in _local(call, guest):
        wanted = only or mapping.get(volume.storage, volume.storage)
        storage = world.storage(wanted, target)
        task.say(f"found local disk '{volume.volid}' (in current VM config)")
        before = volume.volid
        world.volumes.move(volume, target)
        if wanted != volume.storage:
            world.volumes.restore(volume, storage)
        guest.config[key] = guest.config[key].replace(before, volume.volid)
    if any(drives.UNUSED.fullmatch(key) for key in guest.config):
        task.say("unused volumes moved along")
    guest.node = target
    task.say("migration finished successfully (duration 00:00:01)")
