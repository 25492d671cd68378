"""Which settings a running VM takes at once, and which wait for its next start."""

from __future__ import annotations

import re

from .world import Guest

# Told to nobody but the configuration, so they need no plugging.
_FAST = {
    "autostart",
    "description",
    "hookscript",
    "lock",
    "migrate_downtime",
    "migrate_speed",
    "name",
    "onboot",
    "protection",
    "shares",
    "startup",
    "tags",
    "vmstatestorage",
    # cloud-init's are applied at once; the drive is what lags behind.
    "cicustom",
    "cipassword",
    "citype",
    "ciupgrade",
    "ciuser",
    "nameserver",
    "searchdomain",
    "sshkeys",
    # limits of a control group
    "cpulimit",
    "cpuunits",
    "hotplug",
}


def applies_now(guest: Guest, key: str, value: str | None) -> bool:
    """Does the running VM take it (`None`: lose it) at once?"""
    if key in _FAST or re.fullmatch(r"ipconfig\d+|unused\d+", key):
        return True
    features = _features(guest.config.get("hotplug", "network,disk,usb"))
    if re.fullmatch(r"net\d+", key):
        return "network" in features
    if re.fullmatch(r"(?:scsi|virtio)\d+", key):
        return "disk" in features
    if re.fullmatch(r"(?:ide|sata)\d+", key):
        before = guest.config.get(key, "")
        return "media=cdrom" in before and value is not None and "media=cdrom" in value
    if re.fullmatch(r"usb\d+", key):
        return "usb" in features
    if key in {"cores", "sockets", "vcpus"}:
        return key == "vcpus" and "cpu" in features
    if key == "balloon":
        return guest.config.get("balloon") != "0" and value not in {None, "0"}
    return key == "memory" and "memory" in features


def _features(text: str) -> set[str]:
    if text == "0":
        return set()
    return set(("network,disk,usb" if text == "1" else text).split(","))
