"""Rules of a VM's settings: who may change them, how they are kept and shown."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from . import drives, formats, schema
from .calls import ApiError, Call, refused
from .world import Guest, World

_METHOD = ("PUT", "/nodes/{node}/qemu/{vmid}/config")

_PRIVILEGES = {
    "VM.Config.CPU": "cores sockets cpu cpulimit cpuunits vcpus numa affinity smp freeze",
    "VM.Config.Memory": "memory balloon shares hugepages keephugepages allow-ksm",
    "VM.Config.Disk": "boot bootdisk vmstatestorage",
    "VM.Config.HWType": (
        "acpi arch hotplug kvm machine scsihw smbios1 tablet vga watchdog audio0 bios rng0"
        " spice_enhancements efidisk ivshmem vmgenid intel-tdx"
    ),
    "VM.Config.Options": (
        "agent autostart description keyboard localtime migrate_downtime migrate_speed name"
        " onboot ostype protection reboot startdate startup tdf template tags"
    ),
    "VM.Config.Cloudinit": (
        "cicustom cipassword citype ciuser ciupgrade nameserver searchdomain sshkeys"
    ),
}
_PRIVILEGE = {key: name for name, keys in _PRIVILEGES.items() for key in keys.split()}
_INTERNAL = {"digest", "lock", "meta", "parent", "runningmachine", "runningcpu", "snaptime"}


def known() -> set[str]:
    """Every key that `delete` may name."""
    properties = schema.load().methods[_METHOD].properties
    return set(properties) - {"node", "vmid", "delete", "revert", "digest", "skiplock"} | {"lock"}


def described(key: str) -> Mapping[str, Any]:
    """What the API's description says of a setting."""
    return schema.load().methods[_METHOD].properties.get(key, {})


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
    found = formats.split_property_string(description, value)
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
            raise ApiError(f"only root can set '{key}' config")
        return
    if any(call.may(path, one) for one in wanted):
        return
    if pool and any(call.may(f"/pool/{pool}", one) for one in wanted):
        return
    call.need_any(path, *wanted)


def _privileges_for(key: str, value: str | None) -> tuple[str, ...] | None:
    if key in _PRIVILEGE:
        return (_PRIVILEGE[key],)
    if re.fullmatch(r"ipconfig\d+", key):
        return ("VM.Config.Cloudinit", "VM.Config.Network")
    if re.fullmatch(r"net\d+", key):
        return ("VM.Config.Network",)
    if drives.UNUSED.fullmatch(key):
        return ("VM.Config.Disk",)
    if drives.KEY.fullmatch(key):
        drive = drives.parse(key, value) if value else None
        plain = drive and drive.is_cdrom and not drive.is_cloudinit
        return ("VM.Config.CDROM",) if plain else ("VM.Config.Disk",)
    if re.fullmatch(r"serial\d+", key):
        return ("VM.Config.HWType",) if value in {None, "socket"} else None
    if re.fullmatch(r"usb\d+", key):
        return ("VM.Config.HWType",) if value is None or "host" not in value else None
    return None


def check_bridge(call: Call, value: str) -> None:
    """Refuse a bridge that the caller may not use."""
    bridge = re.search(r"(?:^|,)bridge=([^,]+)", value)
    if not bridge:
        return
    path = f"/sdn/zones/localnetwork/{bridge[1]}"
    if tag := re.search(r"(?:^|,)tag=(\d+)", value):
        path = f"{path}/{tag[1]}"
    call.need(path, "SDN.Use")


def check_settings(call: Call, settings: Mapping[str, str], before: Mapping[str, str]) -> None:
    """What the parameters' description does not say and the method refuses all the same."""
    if keys := settings.get("sshkeys"):
        _check_ssh_keys(unquote(keys))
    memory = int(settings.get("memory", before.get("memory", "512")).removeprefix("current="))
    balloon = settings.get("balloon")
    if balloon and int(balloon) > memory:
        raise refused(balloon="balloon value too large (must be smaller than assigned memory)")
    boot = settings.get("boot", "")
    if found := re.search(r"(?:^|,)order=([^,]*)", boot):
        for device in (one for one in found[1].split(";") if one):
            if not re.fullmatch(r"(?:ide|sata|scsi|virtio|net|hostpci|usb)\d+", device):
                raise refused(boot=f"invalid boot device '{device}'")
            deleted = re.split(r"[,;\s]+", call.get("delete") or "")
            if device not in settings and (device not in before or device in deleted):
                raise refused(boot=f"invalid bootorder: device '{device}' does not exist'")


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
