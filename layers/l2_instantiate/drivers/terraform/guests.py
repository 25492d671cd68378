"""Machines as the API describes them: found by their number, told from foreign ones by the mark."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lab.clients.proxmox import Api, Refused, Vm
from lab.clients.proxmox.things import tags
from layers.l2_instantiate.drivers.terraform.place import MACHINE, SHELF, Mark, Place, mark_in

QEMU, LXC = "qemu", "lxc"
SHELF_TAG = "strata_shelf"  # the underscore keeps it apart from every host's
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)([KMGT]?)$")
_FACTOR = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_DRIVE = re.compile(r"^(?:(?:virtio|scsi|sata|ide|unused|mp)\d+|rootfs)$")
_EMPTY = "none"


@dataclass(frozen=True)
class Drive:
    """A disk or CD in a slot: ``virtio1: local:vm-5001-disk-0,serial=data,size=4G``."""

    slot: str
    volume: str
    options: Mapping[str, str]

    @classmethod
    def of(cls, slot: str, text: str) -> Drive:
        """From the configuration's value."""
        first, *rest = text.split(",")
        pairs = (word.partition("=") for word in rest)
        options = {name: value for name, _, value in pairs}
        return cls(slot, first.removeprefix("file=").removeprefix("volume="), options)

    @property
    def name(self) -> str:
        """The disk's name in the guest, and in the persona; ``""``: nobody gave it one."""
        return self.options.get("serial", "")

    @property
    def size(self) -> int:
        """Bytes; 0 where it does not say."""
        found = _SIZE.match(self.options.get("size", ""))
        return int(float(found[1]) * _FACTOR[found[2]]) if found else 0

    @property
    def is_cd(self) -> bool:
        """Whether it is no disk."""
        return self.options.get("media") == "cdrom" or self.volume == _EMPTY

    @property
    def owner(self) -> int | None:
        """The VMID that the volume's name begins with: who removes it when he is removed."""
        found = re.search(r"(?:^|[:/])(?:vm|base|subvol|basevol)-(\d+)-", self.volume)
        return int(found[1]) if found else None


@dataclass(frozen=True)
class Guest:
    """One machine, container or shelf, as it is now: ``live`` is what runs, ``later`` what waits.

    ``later`` holds only keys that differ, ``None`` for one that will be gone.
    """

    vmid: int
    node: str
    kind: str
    pool: str
    live: Mapping[str, str]
    later: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Below which the API has it."""
        return f"nodes/{self.node}/{self.kind}/{self.vmid}"

    @property
    def mark(self) -> Mark | None:
        """Whose it says it is."""
        return mark_in(self.live.get("description", ""))

    @property
    def lock(self) -> str:
        """What it is locked for; ``""``: it is not."""
        return self.live.get("lock", "")

    @property
    def tags(self) -> list[str]:
        """Sorted."""
        return sorted(tags(self.live.get("tags")))

    def drives(self, *, later: bool = False) -> Iterator[Drive]:
        """Everything in a slot, unused volumes too; ``later``: as from the next start on."""
        found = {**self.live, **{k: v for k, v in self.later.items() if later and v is not None}}
        for key in sorted(found):
            if _DRIVE.match(key):
                yield Drive.of(key, found[key])

    def root(self) -> Drive | None:
        """The disk that it boots from: named so, else the first in its boot order."""
        if self.kind == LXC:
            return Drive.of("rootfs", self.live["rootfs"]) if "rootfs" in self.live else None
        disks = {d.slot: d for d in self.drives() if not d.is_cd and "unused" not in d.slot}
        named = [d for d in disks.values() if d.name == "root"]
        order = [slot for slot in boot_order(self.live.get("boot", "")) if slot in disks]
        own = [d for d in disks.values() if d.owner == self.vmid]
        return next(iter([*named, *(disks[slot] for slot in order), *own]), None)


@dataclass(frozen=True)
class Running:
    """What it does now; ``since`` is for how many seconds."""

    power: Literal["running", "stopped", "paused"]
    since: float


def boot_order(text: str) -> list[str]:
    """``order=scsi0;net0`` as a list."""
    words = dict(word.partition("=")[::2] for word in text.split(","))
    return [slot for slot in words.get("order", "").split(";") if slot]


def read(api: Api, row: Vm) -> Guest | None:
    """The machine of a row of the list, live and pending values apart; ``None``: it is gone.

    The list may be some seconds old, and the machine on another node since.
    """
    found = _read(api, row)
    if found is None:
        api.touched()
        again = rows(api).get(row.vmid)
        found = _read(api, again) if again is not None and again.node != row.node else None
    return found


def _read(api: Api, row: Vm) -> Guest | None:
    path = f"nodes/{row.node}/{row.kind}/{row.vmid}/pending"
    try:
        found = api.get(path, doing=f"read the configuration of {row.kind} {row.vmid}")
    except Refused as refused:
        if refused.is_absent:
            return None
        raise
    live: dict[str, str] = {}
    later: dict[str, str | None] = {}
    for item in found or ():
        key = str(item["key"])
        if item.get("value") is not None:
            live[key] = str(item["value"])
        if item.get("delete"):
            later[key] = None
        elif item.get("pending") is not None and str(item["pending"]) != live.get(key):
            later[key] = str(item["pending"])
    return Guest(row.vmid, row.node, row.kind, row.pool, live, later)


def running(api: Api, guest: Guest) -> Running:
    """Whether it runs, and for how long."""
    found = api.get(f"{guest.path}/status/current", doing=f"see whether {guest.vmid} runs")
    status = str(found.get("qmpstatus") or found.get("status") or "")
    if found.get("status") != "running":
        return Running("stopped", 0.0)
    power: Literal["running", "paused"] = "paused" if status == "paused" else "running"
    return Running(power, float(found.get("uptime") or 0))


def rows(api: Api) -> dict[int, Vm]:
    """Everything that has a VMID and that the token may see."""
    return {vm.vmid: vm for vm in api.vms()}


@dataclass(frozen=True)
class Found:
    """What there is of a host: its machine, its shelf, and one that only has its name."""

    machine: Guest | None = None
    shelf: Guest | None = None
    namesake: Guest | None = None


def find(api: Api, place: Place, *, machine: int, shelf: int) -> Found:
    """Look for what the record names, by number on whatever node; without it by tags and name.

    A number that somebody else has by now is nobody's business here.
    """
    listed = rows(api)
    own = _at(api, place, listed, machine, MACHINE)
    namesake: Guest | None = None
    if own is None:
        own, namesake = _search(api, place, listed)
    kept = _at(api, place, listed, shelf, SHELF)
    if kept is None:
        kept = _search_shelf(api, place, listed)
    return Found(own, kept, namesake)


def _at(api: Api, place: Place, listed: Mapping[int, Vm], vmid: int, part: str) -> Guest | None:
    row = listed.get(vmid)
    guest = read(api, row) if row is not None and not row.is_template else None
    if guest is None or not (place.is_ours(guest.mark, part) or guest.lock == "clone"):
        return None
    return guest


def _search(api: Api, place: Place, listed: Mapping[int, Vm]) -> tuple[Guest | None, Guest | None]:
    namesake: Guest | None = None
    wanted = set(place.marks)
    for row in listed.values():
        if row.is_template or not (row.name == place.called or wanted <= row.tags):
            continue
        if SHELF_TAG in row.tags:
            continue
        guest = read(api, row)
        if guest is not None and place.is_ours(guest.mark, MACHINE):
            return guest, None
        # Two twins may be called the same: their labs tell them apart.
        if guest is not None and row.name == place.host and not place.isolated:
            namesake = guest
    return None, namesake


def _search_shelf(api: Api, place: Place, listed: Mapping[int, Vm]) -> Guest | None:
    wanted = {SHELF_TAG, *place.marks}
    for row in listed.values():
        if wanted <= row.tags:
            guest = read(api, row)
            if guest is not None and place.is_ours(guest.mark, SHELF):
                return guest
    return None
