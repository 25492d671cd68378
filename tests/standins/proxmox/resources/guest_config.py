"""A VM's configuration: reading it, changing it, what waits for the next start."""

from __future__ import annotations

import re
from typing import Any

from tests.standins.proxmox import config_rules, drives, updates
from tests.standins.proxmox.calls import ApiError, Call, answers, refused
from tests.standins.proxmox.config_rules import clean
from tests.standins.proxmox.tasks import Task
from tests.standins.proxmox.updates import Wanted
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
                one["delete"] = 2 if key in guest.forced else 1
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
    updates.carry_out(call, guest, _checked(call, guest))


@answers("POST", "/nodes/{node}/qemu/{vmid}/config")
def change_later(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    wanted = _checked(call, guest)

    def work(task: Task) -> None:
        given = [
            f"-{key} {value if key != 'cipassword' else '<hidden>'}"
            for key, value in sorted(call.parameters.items())
            if key not in {"node", "vmid"}
        ]
        task.say(f"update VM {guest.vmid}: {' '.join(given)}")
        updates.carry_out(call, guest, wanted)

    return call.world.tasks.start(guest.node, "qmconfig", str(guest.vmid), call.who, work)


@answers("PUT", "/nodes/{node}/qemu/{vmid}/unlink")
def unlink(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    guest.check_flock()
    guest.check_lock()
    deleted = split(call["idlist"])
    updates.carry_out(call, guest, Wanted({}, deleted, force=call.flag("force")))


def split(text: str) -> list[str]:
    """A list as the API splits it."""
    return [one for one in re.split(r"[,;\s]+", text) if one]


def settings_of(call: Call) -> dict[str, str]:
    """The settings among the parameters, as the configuration keeps them."""
    found = {}
    for key, value in call.parameters.items():
        if key not in _NOT_SETTINGS:
            kept = clean(call.world, key, str(value))
            if key == "cdrom" and "media=" not in kept:
                kept += ",media=cdrom"
            found["ide2" if key == "cdrom" else key] = kept
    return found


def _checked(call: Call, guest: Guest) -> Wanted:
    """What is asked, after all that refuses at once and before anything is changed."""
    if call.flag("skiplock") and not call.who.is_root:
        raise refused(skiplock="Only root may use this option.")
    wanted = Wanted(
        settings_of(call),
        ["ide2" if one == "cdrom" else one for one in split(call.get("delete") or "")],
        split(call.get("revert") or ""),
        call.flag("force"),
    )
    config_rules.check_ssh_keys(wanted.settings)
    if not (wanted.settings or wanted.deleted or wanted.reverted):
        raise ApiError("no options specified")
    _check_names(wanted)
    _check_rights(call, guest, wanted)
    guest.check_flock()
    guest.check_digest(call.get("digest"))
    if not call.flag("skiplock"):
        guest.check_lock()
    config_rules.check_balloon(wanted.settings, guest.wanted())
    return wanted


def _check_rights(call: Call, guest: Guest, wanted: Wanted) -> None:
    named = [*wanted.deleted, *wanted.settings]
    for key in named:
        if not drives.KEY.fullmatch(key):  # drives' turn comes with each change
            text = wanted.settings.get(key, guest.config.get(key))
            config_rules.check_privilege(call, guest.vmid, key, text)
    for key, value in wanted.settings.items():
        if drives.KEY.fullmatch(key):
            drives.check_access(call, guest, key, value)
    for key in [one for one in named if re.fullmatch(r"net\d+", one)]:
        for text in (guest.config.get(key), wanted.settings.get(key)):
            config_rules.check_bridge(call, text or "")


def _check_names(wanted: Wanted) -> None:
    for key in wanted.reverted:
        if key not in config_rules.known():
            raise refused(revert=f"unknown option '{key}'")
        if key in wanted.settings:
            raise refused(delete=f"you can't use '-{key}' and -revert {key}' at the same time")
    for key in wanted.deleted:
        if key in wanted.settings:
            raise refused(delete=f"you can't use '-{key}' and -delete {key}' at the same time")
        if key in wanted.reverted:
            text = f"you can't use '-delete {key}' and -revert {key}' at the same time"
            raise refused(revert=text)
        if key not in config_rules.known():
            raise refused(delete=f"unknown option '{key}'")
