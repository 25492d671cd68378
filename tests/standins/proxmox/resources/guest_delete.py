"""Destroying a guest, and which disks go with it."""

from __future__ import annotations

from typing import Any

from tests.standins.proxmox.calls import ApiError, Call, answers, refused
from tests.standins.proxmox.tasks import Task, TaskError
from tests.standins.proxmox.world import Guest


@answers("DELETE", "/nodes/{node}/qemu/{vmid}")
def delete_vm(call: Call) -> Any:
    return _delete(call, call.world.guest(call.vmid, call["node"]), "qmdestroy")


@answers("DELETE", "/nodes/{node}/lxc/{vmid}")
def delete_container(call: Call) -> Any:
    return _delete(call, call.world.guest(call.vmid, call["node"], "lxc"), "vzdestroy")


def _delete(call: Call, guest: Guest, kind: str) -> str:
    if call.flag("skiplock") and not call.who.is_root:
        raise refused(skiplock="Only root may use this option.")
    _check(call, guest)

    def work(task: Task) -> None:
        if call.world.guests.get(guest.vmid) is not guest:
            call.world.guest(guest.vmid, guest.node, guest.kind)
        _check(call, guest)
        if not call.flag("skiplock"):
            guest.check_lock()
        _destroy(call, task, guest)

    return call.world.tasks.start(guest.node, kind, str(guest.vmid), call.who, work)


def _check(call: Call, guest: Guest) -> None:
    """What refuses at once, and once more in the task."""
    word = "CT" if guest.kind == "lxc" else "VM"
    if guest.config.get("protection") == "1":
        raise ApiError(f"can't remove {word} {guest.vmid} - protection mode enabled")
    sid = f"{'ct' if guest.kind == 'lxc' else 'vm'}:{guest.vmid}"
    if sid in call.world.ha and not call.flag("purge"):
        raise ApiError(
            f"unable to remove {word} {guest.vmid} - used in HA resources and purge parameter"
            " not set."
        )
    if guest.running and not call.flag("force"):
        raise ApiError(f"{word} {guest.vmid} is running - destroy failed")


def _destroy(call: Call, task: Task, guest: Guest) -> None:
    world = call.world
    volumes = world.volumes
    held = [(key, volumes.find(volid, guest.node)) for key, volid in guest.disks()]
    if guest.is_template:
        for _, volume in held:
            if volume and volume.is_base and volumes.children(volume):
                raise TaskError(f"base volume '{volume.volid}' is still in use by linked cloned")
    if call.flag("purge"):
        task.say(
            f"purging {'CT' if guest.kind == 'lxc' else 'VM'} {guest.vmid} from related"
            " configurations.."
        )
    for _, volume in held:
        if volume and volume.owner == guest.vmid:
            volumes.drop(volume)
    if call.flag("destroy-unreferenced-disks"):
        owned = [one for one in volumes if one.owner == guest.vmid and one.content != "backup"]
        for volume in owned:
            volumes.drop(volume)
    world.remove_guest(guest, purge=call.flag("purge"))
