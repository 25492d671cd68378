"""Pure: the configuration of a VM that was restored from an archive, and what of it has to go."""

from __future__ import annotations

import re
from collections.abc import Mapping

from layers.l1_image.drivers.proxmox_template.shelf import boot_slot

_DRIVE = re.compile(r"^(?:scsi|virtio|sata|ide)\d+$")
_OWN = re.compile(r"^(?:efidisk|tpmstate)\d+$")
_DEVICE = re.compile(r"^(?:net|usb|hostpci|virtiofs|unused|ipconfig|audio)\d+$")
_WORDS = frozenset(
    {
        "cicustom",
        "cipassword",
        "ciuser",
        "nameserver",
        "searchdomain",
        "sshkeys",
        "watchdog",
    }
)
_CDS = ("ide2", "ide0", "ide1", "ide3", "sata5")
_SIZE = re.compile(r"(?:^|,)size=(\d+(?:\.\d+)?)([KMGT]?)")
_FACTOR = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def root(config: Mapping[str, str]) -> str:
    """The slot of the disk that it boots from."""
    return boot_slot(config)


def size(config: Mapping[str, str]) -> int:
    """Bytes of that disk; 0 where nothing tells."""
    found = _SIZE.search(config.get(root(config), ""))
    return int(float(found[1]) * _FACTOR[found[2]]) if found else 0


def is_cd(key: str, value: str) -> bool:
    """Whether that is a CD, cloud-init's own included."""
    is_empty = value.split(",", maxsplit=1)[0] == "none"
    return bool(_DRIVE.match(key)) and ("media=cdrom" in value or is_empty)


def foreign(config: Mapping[str, str], vmid: int, but: str = "") -> list[str]:
    """Everything that leads out of it: cards, devices, CDs, and disks but the one it boots from.

    A disk that is not its own is only detached by that. ``but`` is a slot that is ours.
    """
    found = []
    for key, value in sorted(config.items()):
        is_disk = bool(_DRIVE.match(key)) and key not in {root(config), but}
        is_others = bool(_OWN.match(key)) and _owner(value) not in {vmid, None}
        if is_disk or is_others or _DEVICE.match(key) or key in _WORDS:
            found.append(key)
    return found


def free_cd(config: Mapping[str, str], going: list[str]) -> str:
    """A slot for our CD: one that is empty, and is not emptied in the same call."""
    return next(slot for slot in _CDS if slot not in config and slot not in going)


def discarding(value: str) -> str:
    """That drive, giving back to its storage what the machine frees."""
    words = [word for word in value.split(",") if not word.startswith(("discard=", "backup="))]
    return ",".join([*words, "discard=on"])


def _owner(value: str) -> int | None:
    found = re.search(r"(?:^|[:/])(?:vm|base)-(\d+)-", value.split(",", maxsplit=1)[0])
    return int(found[1]) if found else None
