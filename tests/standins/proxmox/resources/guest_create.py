"""Making a VM."""

from __future__ import annotations

import re
from typing import Any

from tests.standins.proxmox import config_rules, drives
from tests.standins.proxmox.calls import ApiError, Call, answers
from tests.standins.proxmox.tasks import Task, saying
from tests.standins.proxmox.world import Guest

from . import restoring
from .guest_config import settings_of

_NOT_KEPT = {"pool", "start", "storage", "archive", "force", "unique", "bwlimit", "live-restore"}
_NOT_KEPT |= {"ha-managed"}


@answers("POST", "/nodes/{node}/qemu")
def create(call: Call) -> Any:
    vmid, node, pool = call.vmid, call["node"], call.get("pool")
    _may_allocate(call, vmid, pool)
    if call.get("archive"):
        return restoring.restore(call)
    settings = {key: value for key, value in settings_of(call).items() if key not in _NOT_KEPT}
    guest = Guest(vmid, node)
    _check(call, guest, settings)
    _check_free(call, vmid)
    guest.config["lock"] = "create"
    call.world.guests[vmid] = guest

    def undo() -> None:
        for volume in [one for one in call.world.volumes if one.owner == vmid]:
            if any(volume.volid == used for _, used in guest.disks()):
                call.world.volumes.drop(volume)
        call.world.remove_guest(guest, purge=False)

    def work(task: Task) -> None:
        with saying(f"unable to create VM {vmid} - "):
            _fill(call, task, guest, settings)
        del guest.config["lock"]
        if pool:
            call.world.access.pool_of[guest.path] = pool
        if call.flag("start"):
            from .guest_power import start

            call.world.tasks.start(node, "qmstart", str(vmid), call.who, start(call, guest))

    about = str(vmid)
    return call.world.tasks.start(node, "qmcreate", about, call.who, work, on_failure=undo)


def _may_allocate(call: Call, vmid: int, pool: str | None) -> None:
    if pool and pool not in call.world.pools:
        raise ApiError(f"pool '{pool}' does not exist")
    if call.may(f"/vms/{vmid}", "VM.Allocate"):
        return
    if not (pool and call.may(f"/pool/{pool}", "VM.Allocate")):
        call.need(f"/vms/{vmid}", "VM.Allocate")


def _check_free(call: Call, vmid: int) -> None:
    if held := call.world.guests.get(vmid):
        kind = "CT" if held.kind == "lxc" else "VM"
        raise ApiError(
            f"unable to create VM {vmid} - {kind} {vmid} already exists on node '{held.node}'"
        )


def _check(call: Call, guest: Guest, settings: dict[str, str]) -> None:
    config_rules.check_ssh_keys(settings)
    config_rules.check_balloon(settings, {})
    for key, value in settings.items():
        if not drives.KEY.fullmatch(key):  # who may allocate may give it drives
            config_rules.check_privilege(call, guest.vmid, key, value)
        if drives.KEY.fullmatch(key):
            drives.check_access(call, guest, key, value)
        if re.fullmatch(r"net\d+", key):
            config_rules.check_bridge(call, value)


def _fill(call: Call, task: Task, guest: Guest, settings: dict[str, str]) -> None:
    world = call.world
    for key in sorted(settings):
        value = settings[key]
        if drives.KEY.fullmatch(key):
            made = drives.realise(call, guest, key, value, task.say)
            guest.config[key] = made
            if made != value:
                task.say(f"{key}: successfully created disk '{made}'")
        elif key == "vmgenid" and value == "1":
            guest.config[key] = world.new_uuid()
        elif value:
            guest.config[key] = value
    guest.config.setdefault("vmgenid", world.new_uuid())
    guest.config.setdefault("meta", f"creation-qemu=10.0.13,ctime={world.now()}")
    if "uuid=" not in guest.config.get("smbios1", ""):
        held = guest.config.get("smbios1")
        made = f"uuid={world.new_uuid()}"
        guest.config["smbios1"] = f"{held},{made}" if held else made
    if "boot" not in guest.config and (order := _boot_order(guest.config)):
        guest.config["boot"] = f"order={';'.join(order)}"


def _boot_order(config: dict[str, str]) -> list[str]:
    """The first disk, the first CD-ROM, the first network device."""
    found: list[str] = []
    names = [key for key in config if re.fullmatch(r"(?:ide|scsi|virtio|sata)\d+", key)]
    names.sort(
        key=lambda key: (("ide", "scsi", "virtio", "sata").index(key.rstrip("0123456789")), key)
    )
    for wanted in (False, True):
        found += [one for one in names if drives.parse(one, config[one]).is_cdrom is wanted][:1]
    found += sorted(key for key in config if re.fullmatch(r"net\d+", key))[:1]
    return found
