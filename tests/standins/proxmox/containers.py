"""Containers' settings: volumes, network devices, how they are kept and shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import config_rules, drives, images, property_strings, schema, sizes
from .calls import ApiError, Call
from .storages import Volume
from .world import GIB, Guest, World

_METHOD = ("PUT", "/nodes/{node}/lxc/{vmid}/config")
_NEW = re.compile(r"([^:/\s]+):(\d+(?:\.\d+)?)")

# What a running container takes at once.
_NOW = {
    "cores", "cpulimit", "cpuunits", "description", "hookscript", "hostname", "memory",
    "nameserver",
    "onboot", "protection", "searchdomain", "startup", "swap", "tags",
}  # fmt: skip
_PRIVILEGES = {
    "VM.Config.CPU": {"cores", "cpulimit", "cpuunits"},
    "VM.Config.Memory": {"memory", "swap"},
    "VM.Config.Network": {"nameserver", "searchdomain", "hostname"},
}


def described(key: str) -> Mapping[str, Any]:
    """What the API's description says of a setting."""
    found: Mapping[str, Any] = schema.load().methods[_METHOD].properties.get(key, {})
    return found


def known() -> set[str]:
    """Every key that `delete` may name."""
    return set(schema.load().methods[_METHOD].properties) - {"node", "vmid", "delete", "digest"}


def shown(values: Mapping[str, str]) -> dict[str, Any]:
    """As the API answers a configuration."""
    number = {"integer", "boolean"}
    return {
        key: int(value)
        if described(key).get("type") in number and re.fullmatch(r"\d+", value)
        else value
        for key, value in values.items()
    }


def applies_now(key: str, value: str | None) -> bool:
    """Does a running container take it at once?"""
    if re.fullmatch(r"net\d+|unused\d+", key):
        return True
    return key in _NOW or (bool(re.fullmatch(r"mp\d+", key)) and value is not None)


def network_device(world: World, value: str) -> str:
    """A network device with its address, made where it has none."""
    found = property_strings.split_property_string(described("net0")["format"], value)
    found.setdefault("hwaddr", world.new_mac())
    found["hwaddr"] = found["hwaddr"].upper()
    found.setdefault("type", "veth")
    name = found.pop("name")
    return ",".join([f"name={name}", *(f"{key}={found[key]}" for key in sorted(found))])


def check(call: Call, guest: Guest, settings: Mapping[str, str | None]) -> None:
    """Refuse what the caller may not set and storages that are not there."""
    for key, value in settings.items():
        call_path = guest.path
        wanted = _privilege(key)
        pool = call.get("pool")
        if not (pool and call.may(f"/pool/{pool}", wanted)):
            call.need(call_path, wanted)
        if value is None:
            continue
        if re.fullmatch(r"net\d+", key):
            config_rules.check_bridge(call, value)
        if drives.MOUNT.fullmatch(key):
            _check_volume(call, guest, key, value)


def realise(call: Call, guest: Guest, key: str, value: str) -> str:
    """Make or attach the volume that a mount point asks for; answers it as it is kept."""
    world = call.world
    point = drives.parse(key, value)
    if point.file.startswith("/"):
        return point.text()
    if found := _NEW.fullmatch(point.file):
        storage = world.storage(found[1], guest.node)
        fmt = "subvol" if storage.kind == "zfspool" or found[2] == "0" else "raw"
        place = world.volumes.place(storage, guest.node)
        named = world.volumes.new_name(storage, guest.node, guest.vmid, fmt)
        size = int(float(found[2]) * GIB)
        volume = Volume(storage.name, named, "rootdir", size, fmt, place, guest.vmid)
        images.create(world, storage, volume)
    else:
        volume = world.volumes.need(point.file, guest.node)
    point.file = volume.volid
    point.options["size"] = sizes.show(volume.size)
    return point.text()


def _check_volume(call: Call, guest: Guest, key: str, value: str) -> None:
    point = drives.parse(key, value)
    if point.file.startswith("/"):
        if not call.who.is_root:
            raise ApiError(f"mount point type bind is only allowed for root@pam ({key})", 403)
        return
    name = point.file.partition(":")[0]
    storage = call.world.storage(name, guest.node)
    if _NEW.fullmatch(point.file):
        call.need(f"/storage/{name}", "Datastore.AllocateSpace")
        if "rootdir" not in storage.content:
            raise ApiError(f"storage '{name}' does not support container directories")
    else:
        drives.check_volume(call, guest, point.file)


def _privilege(key: str) -> str:
    if drives.MOUNT.fullmatch(key) or drives.UNUSED.fullmatch(key):
        return "VM.Config.Disk"
    if re.fullmatch(r"net\d+", key):
        return "VM.Config.Network"
    return next((name for name, keys in _PRIVILEGES.items() if key in keys), "VM.Config.Options")
