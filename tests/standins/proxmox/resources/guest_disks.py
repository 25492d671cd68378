"""A VM's disks: larger, elsewhere, or another VM's."""

from __future__ import annotations

import re
from typing import Any

from tests.standins.proxmox import drives, images, sizes
from tests.standins.proxmox.calls import ApiError, Call, answers, refused
from tests.standins.proxmox.storages import Volume
from tests.standins.proxmox.tasks import Task, TaskError
from tests.standins.proxmox.world import Guest


@answers("PUT", "/nodes/{node}/qemu/{vmid}/resize")
def resize(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    if call.flag("skiplock") and not call.who.is_root:
        raise refused(skiplock="Only root may use this option.")
    key = call["disk"]

    def work(task: Task) -> None:
        guest.check_digest(call.get("digest"))
        guest.check_lock()
        if key not in guest.config:
            raise TaskError(f"disk '{key}' does not exist")
        drive = drives.parse(key, guest.config[key])
        volume = call.world.volumes.need(drive.file, guest.node)
        wanted = call["size"]
        size = sizes.parse(wanted.removeprefix("+"))
        size += volume.size if wanted.startswith("+") else 0
        if size < volume.size:
            raise TaskError("shrinking disks is not supported")
        if size > volume.size:
            images.resize(call.world, volume, size)
            if not guest.running:
                task.say("Image resized.")
        drive.options["size"] = sizes.show(size)
        guest.config[key] = drive.text()

    return call.world.tasks.start(guest.node, "resize", str(guest.vmid), call.who, work)


@answers("POST", "/nodes/{node}/qemu/{vmid}/move_disk")
def move(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    target_vmid, storage = call.number("target-vmid"), call.get("storage")
    if target_vmid and storage:
        raise refused(target_vmid="either set 'storage' or 'target-vmid', but not both")
    if target_vmid:
        return _reassign(call, guest, target_vmid)
    if not storage:
        raise ApiError(
            "Provide either a 'storage' to move the disk to a different storage or"
            " 'target-vmid' and 'target-disk' to move the disk to another VM"
        )
    call.need(f"/storage/{storage}", "Datastore.AllocateSpace")
    guest.check_flock()
    guest.check_digest(call.get("digest"))
    guest.check_lock()
    key = call["disk"]
    if key not in guest.config:
        raise ApiError(f"disk '{key}' does not exist")
    drive = drives.parse(key, guest.config[key])
    if drive.is_cdrom and not drive.is_cloudinit:
        raise ApiError("you can't move a cdrom")
    held = call.world.volumes.need(drive.file, guest.node)
    fmt = call.get("format")
    if storage == held.storage and fmt in {None, held.format}:
        raise ApiError("you can't move to the same storage with same format")
    call.world.storage(storage, guest.node)

    def work(task: Task) -> None:
        guest.check_lock()
        _move(call, task, guest, key, held)

    return call.world.tasks.start(guest.node, "qmmove", str(guest.vmid), call.who, work)


def _move(call: Call, task: Task, guest: Guest, key: str, held: Volume) -> None:
    world = call.world
    storage = world.storage(call["storage"], guest.node)
    if "images" not in storage.content:
        raise TaskError(f"storage '{storage.name}' does not support content-type 'images'")
    fmt = call.get("format") or (held.format if storage.has_files else "raw")
    named = world.volumes.new_name(storage, guest.node, guest.vmid, fmt)
    place = world.volumes.place(storage, guest.node)
    volume = Volume(storage.name, named, "images", held.size, fmt, place, guest.vmid)
    task.say(f"create full clone of drive {key} ({held.volid})")
    images.copy(world, storage, volume, held)
    drive = drives.parse(key, guest.config[key])
    drive.file = volume.volid
    drive.options["size"] = sizes.show(volume.size)
    guest.config[key] = drive.text()
    if held.owner != guest.vmid:
        return
    if call.flag("delete"):
        world.volumes.drop(held)
    else:
        drives.add_unused(guest.config, held.volid)


def _reassign(call: Call, source: Guest, target_vmid: int) -> Any:
    """Give a disk to another VM: its volume takes that VM's name."""
    call.need(f"/vms/{target_vmid}", "VM.Config.Disk")
    if target_vmid == source.vmid:
        raise refused(target_vmid="must be different than source VMID to reassign disk")
    key = call["disk"]
    place = call.get("target-disk") or key
    target = _check_reassign(call, source, target_vmid, key, place)

    def work(task: Task) -> None:
        _check_reassign(call, source, target_vmid, key, place)
        volume = call.world.volumes.need(drives.parse(key, source.config[key]).file, source.node)
        storage = call.world.storage(volume.storage, source.node)
        named = call.world.volumes.new_name(storage, source.node, target.vmid, volume.format)
        before = volume.volid
        call.world.volumes.rename(volume, named, owner=target.vmid)
        drive = drives.parse(key, source.config.pop(key))
        drive.file = volume.volid
        if drives.UNUSED.fullmatch(place):
            target.config[place] = volume.volid
        else:
            drive.options["size"] = sizes.show(volume.size)
            target.config[place] = drive.text()
        task.say(
            f"moving disk '{before}' from VM '{source.vmid}' to '{target.vmid}'",
            f"removing disk '{key}' from VM '{source.vmid}' config",
            f"update VM {target.vmid}: -{place} {target.config[place]}",
        )

    return call.world.tasks.start(source.node, "qmmove", str(source.vmid), call.who, work)


def _check_reassign(call: Call, source: Guest, target_vmid: int, key: str, place: str) -> Guest:
    target = call.world.guests.get(target_vmid)
    if target is None:
        raise ApiError(f"could not find target VM {target_vmid}")
    if source.node != target.node:
        raise ApiError(f"Both VMs need to be on the same node ({source.node} != {target.node})")
    source.check_flock()
    source.check_lock()
    target.check_lock()
    if source.is_template or target.is_template:
        raise ApiError("Can't move disks from or to template VMs")
    source.check_digest(call.get("digest"))
    target.check_digest(call.get("target-digest"))
    if key not in source.config:
        raise ApiError(f"Disk '{key}' for VM '{source.vmid}' does not exist")
    if place in target.config:
        raise ApiError(f"Target disk key '{place}' is already in use for VM '{target_vmid}'")
    drive = drives.parse(key, source.config[key])
    if drive.is_cdrom:
        raise ApiError("CD drive contents can't be moved to another VM")
    if any(drive.file in str(one["config"]) for one in source.snapshots.values()):
        raise ApiError("Can't move disk used by a snapshot to another VM")
    if source.running and not drives.UNUSED.fullmatch(key):
        raise ApiError(
            "Cannot move disk to another VM while the source VM is running - detach first"
        )
    if not re.fullmatch(rf"{drives.KEY.pattern}|unused\d+", place):
        raise refused(target_disk=f"invalid disk '{place}'")
    return target
