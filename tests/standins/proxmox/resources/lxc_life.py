"""Containers: started, stopped, cloned, made templates, their volumes larger."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from tests.standins.proxmox import config_rules, containers, drives, images, sizes
from tests.standins.proxmox.calls import ApiError, Call, answers, refused
from tests.standins.proxmox.storages import Volume
from tests.standins.proxmox.tasks import Task, TaskError
from tests.standins.proxmox.world import Guest

from .lxc_config import remove

_CT = "/nodes/{node}/lxc/{vmid}"


@answers("POST", _CT + "/status/start")
def start(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"], "lxc")
    if guest.running:
        raise ApiError(f"CT {guest.vmid} already running")
    return _task(call, guest, "vzstart", lambda _: begin(call, guest))


@answers("POST", _CT + "/status/stop")
def stop(call: Call) -> Any:
    guest = _need_running(call)
    return _task(call, guest, "vzstop", lambda _: _end(call, guest))


@answers("POST", _CT + "/status/shutdown")
def shutdown(call: Call) -> Any:
    guest = _need_running(call)

    def work(task: Task) -> None:
        if not guest.listens:
            task.wait((call.number("timeout", 60) or 0) * call.world.patience)
            if not call.flag("forceStop"):
                raise TaskError("container did not stop")
        _end(call, guest)

    return _task(call, guest, "vzshutdown", work)


@answers("POST", _CT + "/status/reboot")
def reboot(call: Call) -> Any:
    guest = _need_running(call)

    def work(_: Task) -> None:
        _end(call, guest)
        begin(call, guest)

    return _task(call, guest, "vzreboot", work)


@answers("GET", _CT + "/interfaces")
def interfaces(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"], "lxc")
    if not guest.running:
        return None
    found: list[dict[str, Any]] = [
        _interface("lo", "00:00:00:00:00:00", ["127.0.0.1/8", "::1/128"])
    ]
    for key in sorted(one for one in guest.config if re.fullmatch(r"net\d+", one)):
        device = dict(one.partition("=")[::2] for one in guest.config[key].split(","))
        given = device.get("ip", "")
        address = given if "/" in given else f"10.99.0.{guest.vmid % 250 + 2}/24"
        listed = guest.addresses if guest.addresses is not None else [address]
        found.append(_interface(device["name"], device["hwaddr"].lower(), listed))
    return found


@answers("POST", _CT + "/template")
def template(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"], "lxc")
    guest.check_lock()
    if guest.is_template:
        raise ApiError("you can't convert a CT to template if the CT is a template")
    if guest.running:
        raise ApiError("you can't convert a CT to template if CT is running")
    for key in [one for one in guest.config if drives.MOUNT.fullmatch(one)]:
        point = drives.parse(key, guest.config[key])
        if volume := call.world.volumes.find(point.file, guest.node):
            named = re.sub(r"(^|/)(?:vm|subvol)-", r"\1base-", volume.name)
            call.world.volumes.rename(volume, named)
            point.file = volume.volid
            guest.config[key] = point.text()
    guest.config["template"] = "1"


@answers("POST", _CT + "/clone")
def clone(call: Call) -> Any:
    world, node, newid = call.world, call["node"], int(call["newid"])
    source = world.guests.get(call.vmid)
    if source is None or source.node != node or source.kind != "lxc":
        raise ApiError(f"unable to find configuration file for CT {call.vmid} on node '{node}'")
    source.check_lock()
    full = call.flag("full", default=not source.is_template)
    if call.get("storage") and not full:
        raise refused(storage="parameter 'storage' not allowed for linked clones")
    for key, value in source.config.items():
        if re.fullmatch(r"net\d+", key):
            config_rules.check_bridge(call, value)
        if drives.MOUNT.fullmatch(key):
            name = call.get("storage") or drives.parse(key, value).file.partition(":")[0]
            call.need(f"/storage/{name}", "Datastore.AllocateSpace")
    if newid in world.guests:
        raise ApiError(f"unable to create CT {newid}: config file already exists")
    target = world.guests[newid] = Guest(newid, node, "lxc", config={"lock": "create"})
    if pool := call.get("pool"):
        world.access.pool_of[target.path] = pool

    def work(_: Task) -> None:
        config = {
            key: _copied(call, source, target, key, full=full)
            for key in sorted(source.config)
            if not re.fullmatch(r"unused\d+|lock|template|parent", key)
        }
        config["hostname"] = call.get("hostname") or f"Copy-of-CT-{source.name}"
        target.config = config

    def undo() -> None:
        world.remove_guest(target, purge=False)

    about = str(source.vmid)
    return world.tasks.start(node, "vzclone", about, call.who, work, on_failure=undo)


@answers("PUT", _CT + "/resize")
def resize(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"], "lxc")
    guest.check_flock()
    guest.check_digest(call.get("digest"))
    guest.check_lock()
    key = call["disk"]
    if key not in guest.config:
        raise ApiError(f"disk '{key}' does not exist")
    point = drives.parse(key, guest.config[key])
    volume = call.world.volumes.need(point.file, guest.node)
    wanted = call["size"]
    size = sizes.parse(wanted.removeprefix("+")) + (volume.size if wanted[0] == "+" else 0)
    if size < volume.size:
        raise ApiError("unable to shrink disk size")

    def work(_: Task) -> None:
        images.resize(call.world, volume, size)
        point.options["size"] = sizes.show(size)
        guest.config[key] = point.text()

    return _task(call, guest, "resize", work)


def begin(call: Call, guest: Guest) -> None:
    """Start a container; raises TaskError where it cannot."""
    guest.check_lock()
    if guest.is_template:
        raise TaskError("you can't start a CT if it's a template")
    waiting, guest.pending = guest.pending, {}
    for key, value in waiting.items():
        if value is None:
            remove(call, guest, key)
        else:
            guest.config[key] = value
    for key, value in guest.config.items():
        bridge = re.fullmatch(r"net\d+", key) and re.search(r"bridge=([^,]+)", value)
        if bridge and bridge[1] not in call.world.nodes[guest.node].network:
            raise TaskError(f"bridge '{bridge[1]}' does not exist")
    guest.running, guest.qmp = True, "running"
    guest.started, guest.pid = time.time(), call.world.new_pid()


def _end(_: Call, guest: Guest) -> None:
    guest.check_lock()
    guest.running, guest.qmp = False, "stopped"


def _need_running(call: Call) -> Guest:
    guest = call.world.guest(call.vmid, call["node"], "lxc")
    if not guest.running:
        raise ApiError(f"CT {guest.vmid} not running")
    return guest


def _task(call: Call, guest: Guest, kind: str, work: Callable[[Task], object]) -> str:
    slow = kind == "vzshutdown"
    return call.world.tasks.start(guest.node, kind, str(guest.vmid), call.who, work, slow=slow)


def _copied(call: Call, source: Guest, target: Guest, key: str, *, full: bool) -> str:
    world, value = call.world, source.config[key]
    if re.fullmatch(r"net\d+", key):
        return containers.network_device(world, re.sub(r",hwaddr=[^,]*", "", value))
    if not drives.MOUNT.fullmatch(key):
        return value
    point = drives.parse(key, value)
    held = world.volumes.need(point.file, source.node)
    storage = world.storage((call.get("storage") if full else None) or held.storage, source.node)
    base = None if full else held
    named = world.volumes.new_name(
        storage, source.node, target.vmid, held.format, base=base.name if base else None
    )
    place = world.volumes.place(storage, source.node)
    parent = base.volid if base else None
    made = Volume(
        storage.name, named, "rootdir", held.size, held.format, place, target.vmid, parent
    )
    images.create(world, storage, made)
    point.file = made.volid
    return point.text()


def _interface(name: str, mac: str, addresses: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "hardware-address": mac,
        "hwaddr": mac,
        "ip-addresses": [
            {
                "ip-address": one.partition("/")[0],
                "ip-address-type": "inet6" if ":" in one else "inet",
                "prefix": int(one.partition("/")[2] or 24),
            }
            for one in addresses
        ],
        "name": name,
    }
    for one in addresses:
        found.setdefault("inet6" if ":" in one else "inet", one)
    return found
