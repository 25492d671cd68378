"""Rules of a VM's settings: who may change them, how they are kept and shown."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from . import drives, property_strings, schema
from .calls import ApiError, Call
from .world import Guest, World

if TYPE_CHECKING:
    from .updates import Wanted

_METHOD = ("PUT", "/nodes/{node}/qemu/{vmid}/config")

# Everything that is in no line here only root himself may set: args, arch, affinity, rng0 …
_PRIVILEGES = {
    "VM.Config.CPU": "cores cpu cpulimit cpuunits numa smp sockets vcpus",
    "VM.Config.Memory": "memory balloon shares",
    "VM.Config.Disk": "boot bootdisk vmstatestorage",
    "VM.Config.HWType": ("acpi hotplug kvm machine scsihw smbios1 tablet vga watchdog audio0"),
    "VM.Config.Options": (
        "agent autostart bios description keyboard localtime migrate_downtime migrate_speed name"
        " onboot ostype protection reboot startdate startup tdf template tags"
    ),
    "VM.PowerMgmt": "freeze",
    "VM.Config.Cloudinit": (
        "cicustom cipassword citype ciuser ciupgrade nameserver searchdomain sshkeys"
    ),
}
_PRIVILEGE = {key: name for name, keys in _PRIVILEGES.items() for key in keys.split()}
_NUMBERED = tuple(
    (re.compile(pattern), privilege)
    for pattern, privilege in (
        (r"ipconfig\d+", "VM.Config.Cloudinit"),
        (r"net\d+", "VM.Config.Network"),
        (r"numa\d+", "VM.Config.CPU"),
        (r"unused\d+", "VM.Config.Disk"),
    )
)


def known() -> set[str]:
    """Every key that `delete` may name."""
    properties = schema.load().methods[_METHOD].properties
    return set(properties) - {"node", "vmid", "delete", "revert", "digest", "skiplock"} | {"lock"}


def described(key: str) -> Mapping[str, Any]:
    """What the API's description says of a setting."""
    found: Mapping[str, Any] = schema.load().methods[_METHOD].properties.get(key, {})
    return found


def shown(values: Mapping[str, str]) -> dict[str, Any]:
    """As the API answers a configuration: numbers where its description says so."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        kind = described(key).get("type")
        if key == "cipassword":
            found[key] = "**********"
        elif kind in {"integer", "boolean"} and re.fullmatch(r"\d+", value):
            found[key] = int(value)
        else:
            found[key] = value
    return found


def clean(world: World, key: str, value: str) -> str:
    """A setting as it is kept, whoever's it is."""
    if re.fullmatch(r"net\d+", key):
        return network_device(world, value)
    if key == "description":
        return value.rstrip("\n")
    if key == "cipassword" and not value.startswith("$"):
        return f"$5$standin${hashlib.sha256(value.encode()).hexdigest()}"
    return value


def finished(world: World, guest: Guest, key: str, value: str) -> str:
    """A changed setting as it is kept: tags in order, secrets generated."""
    if key == "tags":
        return ";".join(sorted({one.lower() for one in re.split(r"[,;\s]+", value) if one}))
    if key == "vmgenid" and value == "1":
        return world.new_uuid()
    if key == "smbios1" and "uuid=" not in value:
        held = re.search(r"uuid=[0-9a-fA-F-]+", guest.config.get("smbios1", ""))
        return f"{value},{held[0] if held else 'uuid=' + world.new_uuid()}"
    return value


def network_device(world: World, value: str) -> str:
    """A network device with its address, made where it has none."""
    description = described("net0")["format"]
    found = property_strings.split_property_string(description, value)
    model = found.pop("model", "virtio")
    address = found.pop("macaddr", None) or world.new_mac()
    rest = [f"{key}={found[key]}" for key in sorted(found)]
    return ",".join([f"{model}={address.upper()}", *rest])


def check_privilege(call: Call, vmid: int, key: str, value: str | None) -> None:
    """Refuse a setting that the caller has no privilege for."""
    path = f"/vms/{vmid}"
    pool = call.get("pool")
    wanted = _privileges_for(key, value)
    if wanted is None:
        if not call.who.is_root:
            raise ApiError(f"only root can set '{key}' config{_what_kind(key)}")
        return
    if key == "startup":  # it changes what the host does when it starts
        call.need("/", "Sys.Modify")
    if drives.KEY.fullmatch(key) and value and drives.parse(key, value).is_cloudinit:
        call.need(path, "VM.Config.Cloudinit", "VM.Config.CDROM")
        return
    if any(call.may(path, one) for one in wanted):
        return
    if pool and any(call.may(f"/pool/{pool}", one) for one in wanted):
        return
    call.need_any(path, *wanted)


def _what_kind(key: str) -> str:
    if key.startswith("hostpci"):
        return " for non-mapped devices"
    return " for real devices" if re.fullmatch(r"(?:serial|usb)\d+", key) else ""


def _privileges_for(key: str, value: str | None) -> tuple[str, ...] | None:
    """One of which the caller must have; None where only root may."""
    named = _PRIVILEGE.get(key) or next(
        (one for pattern, one in _NUMBERED if pattern.fullmatch(key)), None
    )
    if named == "VM.Config.Cloudinit":
        return (named, "VM.Config.Network")
    if named:
        return (named,)
    if drives.KEY.fullmatch(key):
        drive = drives.parse(key, value) if value else None
        return ("VM.Config.CDROM",) if drive and drive.is_cdrom else ("VM.Config.Disk",)
    device = re.fullmatch(r"(serial|usb|hostpci|virtiofs)\d+", key)
    return ("VM.Config.HWType",) if device and _is_virtual(device[1], value or "") else None


def _is_virtual(kind: str, value: str) -> bool:
    """A device of the guest's alone, not one of the node's."""
    if not value:
        return True
    if kind == "serial":
        return value == "socket"
    return "spice" in value.lower() or "mapping=" in value or kind == "virtiofs"


def check_bridge(call: Call, value: str) -> None:
    """Refuse a bridge that the caller may not use."""
    bridge = re.search(r"(?:^|,)bridge=([^,]+)", value)
    if not bridge:
        return
    path = f"/sdn/zones/localnetwork/{bridge[1]}"
    if tag := re.search(r"(?:^|,)tag=(\d+)", value):
        path = f"{path}/{tag[1]}"
    call.need(path, "SDN.Use")


def check_balloon(settings: Mapping[str, str], before: Mapping[str, str]) -> None:
    """Refuse a balloon larger than the memory."""
    if not {"memory", "balloon"} & set(settings):
        return
    both = {**before, **settings}
    memory = int(both.get("memory", "512").removeprefix("current="))
    if int(both.get("balloon", "0")) > memory:
        raise ApiError("balloon value too large (must be smaller than assigned memory)")


def boot_order(config: Mapping[str, str]) -> list[str]:
    """The devices that a configuration boots from."""
    found = re.search(r"(?:^|,)order=([^,]*)", config.get("boot", ""))
    return [one for one in found[1].split(";") if one] if found else []


def print_boot_order(devices: Sequence[str]) -> str:
    """The same, as the configuration keeps it."""
    return f"order={';'.join(devices)}" if devices else " "


def checked_boot(guest: Guest, value: str, wanted: Wanted) -> str:
    """A changed boot order, which must name devices that are there."""
    devices = boot_order({"boot": value})
    there = {**guest.wanted(), **wanted.settings}
    for device in devices:
        if device not in there or device in wanted.deleted:
            raise ApiError(f"invalid bootorder: device '{device}' does not exist'")
    return print_boot_order(devices) if devices else value


def check_ssh_keys(settings: Mapping[str, str]) -> None:
    """Refuse what is no public key, once for all of them."""
    if keys := settings.get("sshkeys"):
        _check_ssh_keys(unquote(keys))


def _check_ssh_keys(text: str) -> None:
    for line in text.splitlines():
        parts = line.split()
        if not parts or line.startswith("#"):
            continue
        kinds = [one for one in parts if re.match(r"(?:sk-)?(?:ssh|ecdsa)-", one)]
        place = parts.index(kinds[0]) + 1 if kinds else len(parts)
        try:
            base64.b64decode(parts[place], validate=True)
        except (IndexError, ValueError):
            raise ApiError("SSH public key validation error") from None
