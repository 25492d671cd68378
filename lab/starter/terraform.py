"""Machines out of ``terraform show -json`` or ``tofu show -json``: what the state says of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from lab.errors import LabError
from lab.starter.imported import Found

_GIB = 1024**3


def read(text: str) -> tuple[list[Found], list[str]]:
    """The machines in a state, and what was not understood. Raises LabError for other texts."""
    try:
        document = json.loads(text)
        root = document["values"]["root_module"]
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(
            "Unable to import: this is not the output of terraform show -json.",
            hint="terraform show -json > state.json; lab import terraform state.json",
        ) from error
    resources = list(_resources(root))
    volumes = {
        str(r["values"].get("id")): r["values"].get("size")
        for r in resources
        if r["type"] == "libvirt_volume"
    }
    found: list[Found] = []
    told: list[str] = []
    for resource in resources:
        reader = _READERS.get(resource["type"])
        if reader is not None:
            found.append(reader(resource["values"], resource, volumes))
        elif resource["type"] not in _SILENT:
            told.append(f"{resource['address']}: a {resource['type']} is not imported")
    return found, told


def _resources(module: Any) -> Iterator[dict[str, Any]]:
    """Every managed resource, modules inside modules included."""
    if not isinstance(module, dict):
        return
    for resource in module.get("resources") or ():
        if resource.get("mode", "managed") == "managed" and isinstance(
            resource.get("values"), dict
        ):
            yield {"type": "", "name": "", "address": resource.get("type", ""), **resource}
    for child in module.get("child_modules") or ():
        yield from _resources(child)


def _bpg(values: dict[str, Any], resource: dict[str, Any], _: dict[str, Any]) -> Found:
    """``proxmox_virtual_environment_vm`` and ``…_container`` of the provider bpg/proxmox."""
    cpu, memory = _first(values.get("cpu")), _first(values.get("memory"))
    start = _first(values.get("initialization"))
    address = _first(_first(start.get("ip_config")).get("ipv4")).get("address")
    name = values.get("name") or start.get("hostname") or resource["name"]
    cores = _whole(cpu.get("cores"))
    sockets = _whole(cpu.get("sockets")) or 1
    return Found(
        name=str(name),
        address=None if address in {None, "", "dhcp"} else str(address),
        tags=tuple(str(t) for t in _listed(values.get("tags"))),
        cpu=cores * sockets if cores else None,
        memory=_whole(memory.get("dedicated")),
        disks=_disks(values.get("disk"), lambda d: _whole(d.get("size"))),
    )


def _telmate(values: dict[str, Any], resource: dict[str, Any], _: dict[str, Any]) -> Found:
    """``proxmox_vm_qemu`` of the provider Telmate/proxmox."""
    cores, sockets = _whole(values.get("cores")), _whole(values.get("sockets")) or 1

    def size(disk: dict[str, Any]) -> int | None:
        text = str(disk.get("size", ""))
        return _whole(text.removesuffix("G")) if text.endswith("G") else None

    return Found(
        name=str(values.get("name") or resource["name"]),
        tags=tuple(t for t in str(values.get("tags") or "").replace(",", ";").split(";") if t),
        cpu=cores * sockets if cores else None,
        memory=_whole(values.get("memory")),
        disks=_disks(values.get("disk"), size),
    )


def _libvirt(values: dict[str, Any], resource: dict[str, Any], volumes: dict[str, Any]) -> Found:
    """``libvirt_domain`` of the provider dmacvicar/libvirt; sizes stand in its volumes."""
    addresses = _listed(_first(values.get("network_interface")).get("addresses"))

    def size(disk: dict[str, Any]) -> int | None:
        known = _whole(volumes.get(str(disk.get("volume_id"))))
        return None if known is None else -(-known // _GIB)

    return Found(
        name=str(values.get("name") or resource["name"]),
        address=str(addresses[0]) if addresses else None,
        cpu=_whole(values.get("vcpu")),
        memory=_whole(values.get("memory")),
        disks=_disks(values.get("disk"), size),
    )


def _disks(given: Any, size: Callable[[dict[str, Any]], int | None]) -> dict[str, int]:
    """``root`` and then ``disk1``, ``disk2`` …; nothing where one of the sizes is not known."""
    disks: dict[str, int] = {}
    for number, disk in enumerate(d for d in _listed(given) if isinstance(d, dict)):
        gib = size(disk)
        if not gib:
            return {}
        disks[f"disk{number}" if number else "root"] = gib
    return disks


def _first(value: Any) -> dict[str, Any]:
    """Blocks are lists in a state; a block that is not there is empty."""
    if isinstance(value, list):
        value = value[0] if value else {}
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    """A list as it is; anything else is none."""
    return value if isinstance(value, list) else []


def _whole(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return number if number > 0 else None


_READERS: dict[str, Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], Found]] = {
    "proxmox_virtual_environment_vm": _bpg,
    "proxmox_virtual_environment_container": _bpg,
    "proxmox_vm_qemu": _telmate,
    "libvirt_domain": _libvirt,
}
_SILENT = {"libvirt_volume", "libvirt_cloudinit_disk"}
