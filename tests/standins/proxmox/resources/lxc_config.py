"""Containers: made, read, changed."""

from __future__ import annotations

import re
from typing import Any

from tests.standins.proxmox import containers, drives
from tests.standins.proxmox.calls import ApiError, Call, answers, refused
from tests.standins.proxmox.tasks import Task
from tests.standins.proxmox.world import Guest

from .guest_config import split

_NOT_KEPT = {
    "node", "vmid", "ostemplate", "password", "ssh-public-keys", "pool", "storage", "start",
    "force", "restore", "unique", "bwlimit", "ignore-unpack-errors", "delete", "digest", "revert",
    "ha-managed",
}  # fmt: skip


@answers("POST", "/nodes/{node}/lxc")
def create(call: Call) -> Any:
    world, vmid, node, pool = call.world, call.vmid, call["node"], call.get("pool")
    if pool and pool not in world.pools:
        raise ApiError(f"pool '{pool}' does not exist")
    if not (pool and call.may(f"/pool/{pool}", "VM.Allocate")):
        call.need(f"/vms/{vmid}", "VM.Allocate")
    _check_free(call, vmid)
    guest = Guest(vmid, node, "lxc")
    settings = _settings(call)
    settings.setdefault("rootfs", f"{call.get('storage') or 'local'}:4")
    containers.check(call, guest, settings)
    template = call["ostemplate"]
    drives.check_volume(call, guest, template)
    world.volumes.need(template, node)

    def work(task: Task) -> None:
        _check_free(call, vmid)
        for key, value in sorted(settings.items()):
            guest.config[key] = _kept(call, guest, key, value)
        guest.config.setdefault("arch", "amd64")
        guest.config.setdefault("ostype", "debian")
        guest.config.setdefault("memory", "512")
        guest.config.setdefault("swap", "512")
        guest.config.setdefault("hostname", f"CT{vmid}")
        task.say(f"extracting archive '{template}'", "Detected container architecture: amd64")
        world.guests[vmid] = guest
        if pool:
            world.access.pool_of[guest.path] = pool
        if call.flag("start"):
            from .lxc_life import begin

            begin(call, guest)

    return world.tasks.start(node, "vzcreate", str(vmid), call.who, work)


@answers("GET", "/nodes/{node}/lxc/{vmid}/config")
def read(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"], "lxc")
    values = guest.config if call.flag("current") else guest.wanted()
    return containers.shown(values) | {"digest": guest.digest}


@answers("GET", "/nodes/{node}/lxc/{vmid}/pending")
def pending(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"], "lxc")
    found: list[dict[str, Any]] = []
    for key, value in containers.shown(guest.config).items():
        one: dict[str, Any] = {"key": key, "value": value}
        if key in guest.pending:
            coming = guest.pending[key]
            one |= {"delete": 1} if coming is None else {"pending": coming}
        found.append(one)
    found += [
        {"key": key, "pending": value}
        for key, value in guest.pending.items()
        if value is not None and key not in guest.config
    ]
    return found


@answers("PUT", "/nodes/{node}/lxc/{vmid}/config")
def change(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"], "lxc")
    settings = _settings(call)
    deleted = split(call.get("delete") or "")
    for key in deleted:
        if key in settings:
            raise refused(delete=f"you can't use '-{key}' and -delete {key}' at the same time")
        if key not in containers.known():
            raise refused(delete=f"unknown option '{key}'")
        if key == "rootfs":
            raise ApiError("unable to delete required option 'rootfs'")
    containers.check(call, guest, {**settings, **dict.fromkeys(deleted)})
    guest.check_flock()
    guest.check_digest(call.get("digest"))
    guest.check_lock()
    for key in deleted:
        _delete(call, guest, key)
    for key, value in settings.items():
        _set(call, guest, key, value)


def remove(call: Call, guest: Guest, key: str) -> None:
    """Take a setting away; a volume of its own becomes unused."""
    value = guest.config.pop(key, None)
    if value is None:
        return
    volid = drives.parse(key, value).file if drives.MOUNT.fullmatch(key) else value
    volume = call.world.volumes.find(volid, guest.node)
    if volume is None or volume.owner != guest.vmid:
        return
    if drives.MOUNT.fullmatch(key):
        drives.add_unused(guest.config, volid)
    elif drives.UNUSED.fullmatch(key):
        call.need(f"/storage/{volume.storage}", "Datastore.AllocateSpace")
        call.world.volumes.drop(volume)


def _check_free(call: Call, vmid: int) -> None:
    if held := call.world.guests.get(vmid):
        kind = "CT" if held.kind == "lxc" else "VM"
        raise ApiError(f"{kind} {vmid} already exists on node '{held.node}'")


def _settings(call: Call) -> dict[str, str]:
    return {key: str(value) for key, value in call.parameters.items() if key not in _NOT_KEPT}


def _kept(call: Call, guest: Guest, key: str, value: str) -> str:
    if drives.MOUNT.fullmatch(key):
        return containers.realise(call, guest, key, value)
    if re.fullmatch(r"net\d+", key):
        return containers.network_device(call.world, value)
    return value


def _delete(call: Call, guest: Guest, key: str) -> None:
    guest.pending.pop(key, None)
    if key not in guest.config:
        return
    if guest.running and not containers.applies_now(key, None):
        guest.pending[key] = None
    else:
        remove(call, guest, key)


def _set(call: Call, guest: Guest, key: str, value: str) -> None:
    kept = _kept(call, guest, key, value)
    if key == "tags":
        kept = ";".join(sorted({one.lower() for one in re.split(r"[,;\s]+", value) if one}))
    guest.pending.pop(key, None)
    held = guest.config.get(key)
    if guest.running and held != kept and not containers.applies_now(key, kept):
        guest.pending[key] = kept
        return
    if drives.MOUNT.fullmatch(key):
        volid = drives.parse(key, kept).file
        drives.forget_unused(guest.config, volid)
        if held is not None and drives.parse(key, held).file != volid:
            remove(call, guest, key)
    guest.config[key] = kept
