"""A change of a VM's configuration as the real one carries it out.

Everything is written as pending first, one setting after the other; then a stopped VM takes all of
it and a running one what can be plugged. Whoever fails half way leaves the first half pending.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import config_rules, drives, hotplug
from .calls import ApiError, Call
from .world import Guest

_CLOUDINIT = re.compile(
    r"ciuser|cipassword|sshkeys|nameserver|searchdomain|cicustom|citype|ciupgrade|name"
    r"|(?:ipconfig|net)\d+"
)


@dataclass(frozen=True)
class Wanted:
    """What a call asks to change."""

    settings: Mapping[str, str]
    deleted: Sequence[str] = ()
    reverted: Sequence[str] = ()
    force: bool = False


def carry_out(call: Call, guest: Guest, wanted: Wanted) -> None:
    """Write the changes as pending, then apply what can be applied now."""
    for key in wanted.reverted:
        guest.pending.pop(key, None)
    order = config_rules.boot_order(guest.config)
    for key in wanted.deleted:
        _delete(call, guest, key, order, force=wanted.force)
    for key in _sequence(call, wanted):
        _change(call, guest, key, wanted.settings[key], order, wanted)
    for key, value in list(guest.pending.items()):
        if guest.config.get(key) == value:  # nothing changed: None where it is not there
            del guest.pending[key]
    apply_pending(call, guest)


def apply_pending(call: Call, guest: Guest) -> None:
    """What is pending becomes the configuration: all of it, or what a running VM can take."""
    applied = set()
    for key, value in sorted(guest.pending.items(), key=lambda one: one[1] is not None):
        if guest.running and not hotplug.applies_now(guest, key, value):
            continue
        force = key in guest.forced
        guest.pending.pop(key)
        guest.forced.discard(key)
        applied.add(key)
        if value is None:
            _remove(call, guest, key, force=force)
        else:
            _put(call, guest, key, value)
    changed = any(_CLOUDINIT.fullmatch(key) for key in applied)
    if changed and not guest.running and guest.cloudinit is not None:
        regenerate(guest)


def regenerate(guest: Guest) -> bool:
    """Make the cloud-init drive anew from the configuration; False where there is none."""
    keys = [key for key in guest.config if drives.KEY.fullmatch(key)]
    if not any(drives.parse(key, guest.config[key]).is_cloudinit for key in keys):
        return False
    guest.cloudinit = {
        key: value for key, value in guest.config.items() if _CLOUDINIT.fullmatch(key)
    }
    return True


def _sequence(call: Call, wanted: Wanted) -> list[str]:
    """The order in which settings are taken; `boot` is the one that it matters for."""
    rest = [key for key in wanted.settings if key != "boot"]
    boot = ["boot"] if "boot" in wanted.settings else []
    return boot + rest if call.world.boot_first else rest + boot


def _delete(call: Call, guest: Guest, key: str, order: list[str], *, force: bool) -> None:
    value = guest.config.get(key, guest.pending.get(key))
    if value is None:
        return
    waiting = guest.pending.pop(key, None)
    if key in order:
        order.remove(key)
        guest.pending["boot"] = config_rules.print_boot_order(order)
    if drives.UNUSED.fullmatch(key):
        _check_protection(guest, f"can't remove unused disk '{value}'")
        _free(call, guest, value, but=key)
        guest.config.pop(key, None)
        return
    if drives.KEY.fullmatch(key):
        _check_protection(guest, f"can't remove drive '{key}'")
        config_rules.check_privilege(call, guest.vmid, key, value)
        if waiting is not None:
            drives.register_unused(call, guest, drives.parse(key, waiting))
    if key == "tags":
        guest.config.pop(key, None)
        return
    guest.pending[key] = None
    if force:
        guest.forced.add(key)


def _change(
    call: Call, guest: Guest, key: str, value: str, order: list[str], wanted: Wanted
) -> None:
    waiting = guest.pending.get(key)
    if waiting == value:
        return
    if drives.KEY.fullmatch(key):
        for text in (guest.config.get(key), value):
            if text is not None:
                config_rules.check_privilege(call, guest.vmid, key, text)
        if waiting is not None:
            drives.register_unused(call, guest, drives.parse(key, waiting))
        guest.pending[key] = drives.realise(call, guest, key, value)
        drive = drives.parse(key, value)
        if order and drive.is_cdrom and not drive.is_cloudinit and key not in order:
            order.append(key)
            guest.pending["boot"] = config_rules.print_boot_order(order)
    elif key == "boot":
        guest.pending[key] = config_rules.checked_boot(guest, value, wanted)
    else:
        guest.pending[key] = config_rules.finished(call.world, guest, key, value)
    guest.forced.discard(key)


def _remove(call: Call, guest: Guest, key: str, *, force: bool) -> None:
    held = guest.config.pop(key, None)
    if held is None or not drives.KEY.fullmatch(key):
        return
    drive = drives.parse(key, held)
    unused = drives.register_unused(call, guest, drive)
    if force and unused:
        _free(call, guest, drive.file, but=unused)
        guest.config.pop(unused)


def _put(call: Call, guest: Guest, key: str, value: str) -> None:
    held = guest.config.get(key)
    guest.config[key] = value
    if not drives.KEY.fullmatch(key):
        return
    volid = drives.parse(key, value).file
    drives.forget_unused(guest.config, volid)
    if held is not None and drives.parse(key, held).file != volid:
        drives.register_unused(call, guest, drives.parse(key, held))


def _free(call: Call, guest: Guest, volid: str, *, but: str) -> None:
    """Destroy a volume that is the guest's own; another's is only forgotten."""
    volume = call.world.volumes.find(volid, guest.node)
    if volume is None or volume.owner != guest.vmid:
        return
    call.need(f"/storage/{volume.storage}", "Datastore.AllocateSpace")
    in_snapshot = any(volid in str(one["config"].values()) for one in guest.snapshots.values())
    elsewhere = any(key != but and used == volid for key, used in guest.disks())
    if in_snapshot or elsewhere:
        raise ApiError(f"unable to delete '{volid}' - volume is still in use (snapshot?)")
    call.world.volumes.drop(volume)


def _check_protection(guest: Guest, words: str) -> None:
    if guest.config.get("protection") == "1":
        raise ApiError(f"{words} - protection mode enabled")
