"""A VM's configuration: reading it, changing it, what waits for the next start."""

from __future__ import annotations

import re
from typing import Any

from tests.standins.proxmox import config_rules, drives, hotplug
from tests.standins.proxmox.calls import ApiError, Call, answers, refused
from tests.standins.proxmox.config_rules import clean
from tests.standins.proxmox.tasks import Task
from tests.standins.proxmox.world import Guest

_NOT_SETTINGS = {
    "node", "vmid", "delete", "revert", "digest", "force", "skiplock",
    "background_delay", "import-working-storage",
}  # fmt: skip


@answers("GET", "/nodes/{node}/qemu/{vmid}/config")
def read(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    if name := call.get("snapshot"):
        if name not in guest.snapshots:
            raise ApiError(f"snapshot '{name}' does not exist")
        return config_rules.shown(guest.snapshots[name]["config"])
    values = guest.config if call.flag("current") else guest.wanted()
    return config_rules.shown(values) | {"digest": guest.digest}


@answers("GET", "/nodes/{node}/qemu/{vmid}/pending")
def pending(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    live = config_rules.shown(guest.config)
    found: list[dict[str, Any]] = []
    for key, value in live.items():
        one: dict[str, Any] = {"key": key, "value": value}
        if key in guest.pending:
            coming = guest.pending[key]
            if coming is None:
                one["delete"] = 1
            else:
                one["pending"] = config_rules.shown({key: coming})[key]
        found.append(one)
    found += [
        {"key": key, "pending": config_rules.shown({key: value})[key]}
        for key, value in guest.pending.items()
        if value is not None and key not in live
    ]
    found.append({"key": "digest", "value": guest.digest})
    return found


@answers("PUT", "/nodes/{node}/qemu/{vmid}/config")
def change(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    _check(call, guest)
    _write(call, guest)


@answers("POST", "/nodes/{node}/qemu/{vmid}/config")
def change_later(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    _check(call, guest)

    def work(task: Task) -> None:
        given = [
            f"-{key} {value if key != 'cipassword' else '<hidden>'}"
            for key, value in call.parameters.items()
            if key not in {"node", "vmid"}
        ]
        task.say(f"update VM {guest.vmid}: {' '.join(given)}")
        _write(call, guest)

    return call.world.tasks.start(guest.node, "qmconfig", str(guest.vmid), call.who, work)


@answers("PUT", "/nodes/{node}/qemu/{vmid}/unlink")
def unlink(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    guest.check_flock()
    guest.check_lock()
    for key in formats_list(call["idlist"]):
        _delete(call, guest, key, force=call.flag("force"))


def formats_list(text: str) -> list[str]:
    """A list as the API splits it."""
    return [one for one in re.split(r"[,;\s]+", text) if one]


def settings_of(call: Call) -> dict[str, str]:
    """The settings among the parameters, as the configuration keeps them."""
    found = {}
    for key, value in call.parameters.items():
        if key not in _NOT_SETTINGS:
            found["ide2" if key == "cdrom" else key] = clean(call.world, key, str(value))
    return found


def _check(call: Call, guest: Guest) -> None:
    """All that refuses at once, before anything is changed."""
    if call.flag("skiplock") and not call.who.is_root:
        raise refused(skiplock="Only root may use this option.")
    settings = settings_of(call)
    deleted = formats_list(call.get("delete") or "")
    for key in deleted:
        if key in settings:
            raise refused(delete=f"you can't use '-{key}' and -delete {key}' at the same time")
        if key not in config_rules.known():
            raise refused(delete=f"unknown option '{key}'")
    config_rules.check_settings(call, settings, guest.config)
    for key in [*settings, *deleted]:
        text = settings.get(key, guest.config.get(key))
        config_rules.check_privilege(call, guest.vmid, key, text)
    for key, value in settings.items():
        if drives.KEY.fullmatch(key):
            drives.check_access(call, guest, key, value)
        if re.fullmatch(r"net\d+", key):
            config_rules.check_bridge(call, value)
    guest.check_flock()
    guest.check_digest(call.get("digest"))
    if not call.flag("skiplock") and not ("lock" in deleted and call.who.is_root):
        guest.check_lock()


def _write(call: Call, guest: Guest) -> None:
    for key in formats_list(call.get("revert") or ""):
        guest.pending.pop(key, None)
    for key in formats_list(call.get("delete") or ""):
        _delete(call, guest, key, force=call.flag("force"))
    for key, value in settings_of(call).items():
        _set(call, guest, key, config_rules.finished(call.world, guest, key, value))


def _delete(call: Call, guest: Guest, key: str, *, force: bool) -> None:
    guest.pending.pop(key, None)
    if key not in guest.config:
        return
    if guest.config.get("protection") == "1" and drives.KEY.fullmatch(key):
        raise ApiError(f"can't remove disk '{key}' - protection mode enabled")
    if drives.UNUSED.fullmatch(key):
        _free(call, guest, guest.config[key], but=key)
        del guest.config[key]
        return
    if guest.running and not hotplug.applies_now(guest, key, None):
        guest.pending[key] = None
        return
    remove_now(call, guest, key, force=force)


def remove_now(call: Call, guest: Guest, key: str, *, force: bool = False) -> None:
    """Take a setting out of the live configuration, its disk becoming unused."""
    if not drives.KEY.fullmatch(key):
        guest.config.pop(key, None)
        return
    volid = drives.parse(key, guest.config[key]).file
    drives.register_unused(call, guest, guest.config, key)
    if force:
        unused = next((one for one, held in guest.config.items() if held == volid), None)
        if unused:
            _free(call, guest, volid, but=unused)
            guest.config.pop(unused, None)


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


def _set(call: Call, guest: Guest, key: str, value: str) -> None:
    if drives.KEY.fullmatch(key):
        _set_drive(call, guest, key, value)
        return
    guest.pending.pop(key, None)
    waits = guest.running and not hotplug.applies_now(guest, key, value)
    if waits and guest.config.get(key) != value:
        guest.pending[key] = value
        return
    guest.config[key] = value


def _set_drive(call: Call, guest: Guest, key: str, value: str) -> None:
    made = drives.realise(call, guest, key, value)
    volid = drives.parse(key, made).file
    held = guest.config.get(key)
    same = held is not None and drives.parse(key, held).file == volid
    drives.forget_unused(guest.config, volid)
    if guest.running and held != made and not hotplug.applies_now(guest, key, made):
        guest.pending[key] = made
        return
    guest.pending.pop(key, None)
    if held is not None and not same:
        drives.register_unused(call, guest, guest.config, key)
    guest.config[key] = made
