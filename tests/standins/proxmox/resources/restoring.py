"""A VM out of a backup; by the source of qemu-server."""

from __future__ import annotations

import re
from typing import Any

from tests.standins.proxmox import archives, config_rules, drives, images, sizes
from tests.standins.proxmox.calls import ApiError, Call, refused
from tests.standins.proxmox.storages import Volume
from tests.standins.proxmox.tasks import Task, TaskError
from tests.standins.proxmox.world import Guest

from .guest_config import settings_of

_HOW = {"pool", "start", "storage", "archive", "force", "unique", "bwlimit", "live-restore"}
_HOW |= {"ha-managed"}


def restore(call: Call) -> Any:
    """Begin it. What goes wrong in the task leaves the VM as far as it came."""
    vmid, node, pool = call.vmid, call["node"], call.get("pool")
    settings = {key: value for key, value in settings_of(call).items() if key not in _HOW}
    for key in sorted(settings):
        if drives.KEY.fullmatch(key):
            raise refused(**{key: "option conflicts with option 'archive'"})
    guest = Guest(vmid, node)
    if storage := call.get("storage"):
        call.need(f"/storage/{storage}", "Datastore.AllocateSpace")
    drives.check_volume(call, guest, call["archive"])
    config_rules.check_balloon(settings, {})
    for key, value in settings.items():
        config_rules.check_privilege(call, vmid, key, value)
        if re.fullmatch(r"net\d+", key):
            config_rules.check_bridge(call, value)
    if held := call.world.guests.get(vmid):
        kind = "CT" if held.kind == "lxc" else "VM"
        raise ApiError(
            f"unable to restore VM {vmid} - {kind} {vmid} already exists on node '{held.node}'"
        )
    guest.config["lock"] = "create"
    call.world.guests[vmid] = guest
    if pool:
        call.world.access.pool_of[guest.path] = pool

    def work(task: Task) -> None:
        try:
            _restore(call, task, guest, settings)
        except (TaskError, ApiError) as fault:
            task.say(
                "error before or during data restore, some or all disks were not completely"
                f" restored. VM {vmid} state is NOT cleaned up."
            )
            raise TaskError(f"unable to restore VM {vmid} - {fault}") from fault
        finally:
            guest.config.pop("lock", None)

    return call.world.tasks.start(node, "qmrestore", str(vmid), call.who, work)


def _restore(call: Call, task: Task, guest: Guest, settings: dict[str, str]) -> None:
    volume = call.world.volumes.find(call["archive"], guest.node)
    if volume is None or volume.content != "backup":
        raise TaskError(f"volume '{call['archive']}' does not exist")
    config, held = archives.read(volume)
    for key, value in {**config, **settings}.items():
        if re.fullmatch(r"net\d+", key):
            config_rules.check_bridge(call, value)
    comments, made = [], {}
    for key, value in sorted(config.items()):
        if not drives.KEY.fullmatch(key):
            made[key] = _own(call, key, value)
            continue
        drive = drives.parse(key, value)
        if drive.options.get("backup") == "0":
            comments.append(f"#{key}: {value}")
        else:
            made[key] = _drive(call, task, guest, drive, held[key]) if key in held else value
    if comments:
        made["description"] = "\n".join([made.get("description", ""), *comments])
    made.update({key: value for key, value in settings.items() if value})
    guest.config.update(made)  # at its end, whole or not at all


def _drive(call: Call, task: Task, guest: Guest, drive: drives.Drive, source: Volume) -> str:
    world = call.world
    name = call.get("storage") or drive.file.partition(":")[0]
    storage = world.storage(name, guest.node)
    fmt = source.format if storage.has_files else "raw"
    named = world.volumes.new_name(storage, guest.node, guest.vmid, fmt)
    place = world.volumes.place(storage, guest.node)
    made = images.copy(
        world,
        storage,
        Volume(name, named, "images", source.size, fmt, place, guest.vmid),
        source,
    )
    task.say(f"new volume ID is '{made.volid}'")
    drive.file = made.volid
    drive.options["size"] = sizes.show(source.size)
    return drive.text()


def _own(call: Call, key: str, value: str) -> str:
    """What is another machine's own is made anew, some of it only where that is asked for."""
    if key == "vmgenid" and value != "0":
        return call.world.new_uuid()
    if not call.flag("unique"):
        return value
    if key == "smbios1":
        return re.sub(r"uuid=[0-9a-fA-F-]+", f"uuid={call.world.new_uuid()}", value)
    if re.fullmatch(r"net\d+", key):
        return re.sub(r"(?:[0-9A-F]{2}:){5}[0-9A-F]{2}", call.world.new_mac(), value)
    return value
