"""Cloning a VM, and making a template of one."""

from __future__ import annotations

import re
from typing import Any

from tests.standins.proxmox import config_rules, drives, images, qemu_img, sizes
from tests.standins.proxmox.calls import ApiError, Call, answers
from tests.standins.proxmox.storages import Storage, Volume
from tests.standins.proxmox.tasks import Task, saying
from tests.standins.proxmox.world import Guest

_NOT_COPIED = re.compile(r"unused\d+|parent|template|lock|name")


@answers("POST", "/nodes/{node}/qemu/{vmid}/clone")
def clone(call: Call) -> Any:
    world = call.world
    vmid, node, newid = call.vmid, call["node"], int(call["newid"])
    target_node = call.get("target") or node
    source = world.guests.get(vmid)
    if source is None or source.node != node or source.kind != "qemu":
        raise ApiError(f"unable to find configuration file for VM {vmid} on node '{node}'")
    full = call.flag("full", default=not source.is_template)
    _check(call, source, target_node, full=full)
    if newid in world.guests:
        raise ApiError(f"unable to create VM {newid}: config file already exists")
    target = Guest(newid, node, config={"lock": "clone"})
    world.guests[newid] = target
    world.firewalls.clone(vmid, newid)
    if pool := call.get("pool"):
        world.access.pool_of[target.path] = pool

    def work(task: Task) -> None:
        with saying("clone failed: "):
            target.config = _copied(call, task, source, target, full=full)
        target.node = target_node

    def undo() -> None:
        for volume in world.volumes:
            if volume.owner == newid and volume.created >= began:
                world.volumes.drop(volume)
        world.remove_guest(target, purge=False)

    began = world.now()
    return world.tasks.start(node, "qmclone", str(vmid), call.who, work, on_failure=undo)


@answers("POST", "/nodes/{node}/qemu/{vmid}/template")
def template(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    guest.check_flock()
    guest.check_lock()
    if guest.snapshots:
        raise ApiError("unable to create template, because VM contains snapshots")
    if guest.is_template and not call.get("disk"):
        raise ApiError("you can't convert a template to a template")
    if guest.running:
        raise ApiError("you can't convert a VM to template if VM is running")

    def work(_: Task) -> None:
        guest.config["template"] = "1"
        for key in [one for one in guest.config if drives.KEY.fullmatch(one)]:
            _to_base(call, guest, key)

    return call.world.tasks.start(guest.node, "qmtemplate", str(guest.vmid), call.who, work)


def _check(call: Call, source: Guest, target_node: str, *, full: bool) -> None:
    world, pool, storage = call.world, call.get("pool"), call.get("storage")
    if target_node not in world.nodes:
        raise ApiError(f"no such cluster node '{target_node}'")
    if pool and pool not in world.pools:
        raise ApiError(f"pool '{pool}' does not exist")
    if storage:
        world.storage(storage, source.node)
        if target_node != source.node and not world.storage(storage, target_node).shared:
            raise ApiError(f"can't clone to non-shared storage '{storage}'")
    source.check_flock()
    source.check_lock()
    for key in ("storage", "format"):
        if call.get(key) and not full:
            raise ApiError(f"parameter '{key}' not allowed for linked clones")
    for key in [one for one in source.config if drives.KEY.fullmatch(one)]:
        _check_drive(call, source, drives.parse(key, source.config[key]), target_node, full=full)
    for key, value in source.config.items():
        if re.fullmatch(r"net\d+", key):
            config_rules.check_bridge(call, value)


def _check_drive(
    call: Call, source: Guest, drive: drives.Drive, target_node: str, *, full: bool
) -> None:
    world = call.world
    if drive.is_cdrom and not drive.is_cloudinit:
        return
    name = (call.get("storage") if full else None) or drive.file.partition(":")[0]
    storage = world.storage(name, source.node)
    call.need(f"/storage/{name}", "Datastore.AllocateSpace")
    if "images" not in storage.content:
        raise ApiError(f"storage '{name}' does not support vm images")
    if target_node != source.node and not storage.shared:
        raise ApiError(f"can't clone VM to node '{target_node}' (VM uses local storage)")
    volume = world.volumes.need(drive.file, source.node)
    if not full and not drive.is_cloudinit and not volume.is_base:
        raise ApiError(f"Linked clone feature is not supported for drive '{drive.key}'")


def _copied(call: Call, task: Task, source: Guest, target: Guest, *, full: bool) -> dict[str, str]:
    world = call.world
    config: dict[str, str] = {}
    for key in sorted(source.config):
        value = source.config[key]
        if _NOT_COPIED.fullmatch(key):
            continue
        if drives.KEY.fullmatch(key):
            config[key] = _copied_drive(call, task, source, target, key, full=full)
        elif re.fullmatch(r"net\d+", key):
            without = re.sub(r"^([^=,]+)=[^,]*", r"\1", value)
            config[key] = config_rules.network_device(world, without)
        else:
            config[key] = value
    config["smbios1"] = re.sub(
        r"uuid=[0-9a-fA-F-]+", f"uuid={world.new_uuid()}", source.config.get("smbios1", "uuid=0")
    )
    config["vmgenid"] = world.new_uuid()
    config["name"] = call.get("name") or f"Copy-of-VM-{source.name}"
    if description := call.get("description"):
        config["description"] = description
    return config


def _copied_drive(
    call: Call, task: Task, source: Guest, target: Guest, key: str, *, full: bool
) -> str:
    world = call.world
    drive = drives.parse(key, source.config[key])
    if drive.is_cdrom and not drive.is_cloudinit:
        return drive.text()
    held = world.volumes.need(drive.file, source.node)
    name = (call.get("storage") if full else None) or held.storage
    storage = world.storage(name, source.node)
    if drive.is_cloudinit or full or not held.is_base:
        task.say(f"create full clone of drive {key} ({held.volid})")
        volume = _full(call, storage, source, target, held, cloudinit=drive.is_cloudinit)
        task.say(*qemu_img.formatting(storage, volume))
        if not drive.is_cloudinit:
            task.say(*qemu_img.transferring(volume.size))
    else:
        task.say(f"create linked clone of drive {key} ({held.volid})")
        volume = _linked(call, storage, source, target, held)
        if storage.has_files:
            task.say(*qemu_img.cloning(held, volume, target.vmid))
        task.say(*qemu_img.formatting(storage, volume, held))
    drive.file = volume.volid
    drive.options["size"] = sizes.show(volume.size)
    return drive.text()


def _full(
    call: Call, storage: Storage, source: Guest, target: Guest, held: Volume, *, cloudinit: bool
) -> Volume:
    world = call.world
    fmt = call.get("format") or held.format
    if not storage.has_files:
        fmt = "raw"
    elif cloudinit:
        fmt = "qcow2"
    place = world.volumes.place(storage, source.node)
    if cloudinit:
        named = world.volumes.cloudinit_name(storage, target.vmid)
    else:
        named = world.volumes.new_name(storage, source.node, target.vmid, fmt)
    volume = Volume(storage.name, named, "images", held.size, fmt, place, target.vmid)
    return images.copy(world, storage, volume, held)


def _linked(call: Call, storage: Storage, source: Guest, target: Guest, base: Volume) -> Volume:
    world = call.world
    fmt = "qcow2" if storage.has_files else "raw"
    named = world.volumes.new_name(storage, source.node, target.vmid, fmt, base=base.name)
    place = world.volumes.place(storage, source.node)
    volume = Volume(storage.name, named, "images", base.size, fmt, place, target.vmid, base.volid)
    return images.overlay(world, storage, volume, base)


def _to_base(call: Call, guest: Guest, key: str) -> None:
    """A template's disk takes a base's name, by which clones know that it stays."""
    world = call.world
    drive = drives.parse(key, guest.config[key])
    volume = world.volumes.find(drive.file, guest.node)
    if drive.is_cdrom or volume is None or volume.is_base:
        return
    named = re.sub(rf"(^|/)vm-{guest.vmid}-", rf"\1base-{guest.vmid}-", volume.name)
    world.volumes.rename(volume, named)
    drive.file = volume.volid
    guest.config[key] = drive.text()
