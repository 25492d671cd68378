"""The shelf: a machine that is never started and owns the host's disks, so that they outlive it.

A volume is removed with the machine whose VMID is in its name. All disks besides root are named for
the shelf, and the host's machine only has them attached: removing that machine, by whatever tool,
leaves them. The shelf is under the node's protection, is in no state of tofu's, and keeps in its
description which disk lies in which slot and whether it is durable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.clients.proxmox import Api, Refused, wait
from lab.errors import DriverError
from lab.faults import point
from layers.l2_instantiate.drivers.terraform import guests
from layers.l2_instantiate.drivers.terraform.guests import LXC, QEMU, SHELF_TAG, Drive, Guest
from layers.l2_instantiate.drivers.terraform.numbers import Numbers
from layers.l2_instantiate.drivers.terraform.place import SHELF, Place
from layers.l2_instantiate.machines import Container, Disk
from layers.l2_instantiate.settings import on
from layers.l2_instantiate.wanted import Machine as Target

_GIB = 1024**3
_SLOTS = {QEMU: [f"virtio{n}" for n in range(1, 16)], LXC: [f"mp{n}" for n in range(1, 16)]}
_DEADLINE = 600.0
_TRIES = 5
_LEAST = 16  # MiB of a machine that never runs


@dataclass(frozen=True)
class Kept:
    """A disk on the shelf."""

    name: str
    drive: Drive
    durable: bool


def kind_of(target: Target) -> str:
    """What the API calls such a machine."""
    return LXC if isinstance(target.spec.machine, Container) else QEMU


def disks(shelf: Guest | None) -> dict[str, Kept]:
    """What lies on it, by name; one that its description does not know is durable, to be safe."""
    if shelf is None:
        return {}
    said = dict(shelf.mark.more.get("disks", {})) if shelf.mark else {}
    names = {slot: name for name, slot in said.items()}
    passing = set(shelf.mark.more.get("disposable", ())) if shelf.mark else set()
    found = {}
    for drive in shelf.drives():
        if drive.is_cd or drive.slot == "rootfs":
            continue
        name = names.get(drive.slot) or drive.name or drive.slot
        found[name] = Kept(name, drive, name not in passing)
    return found


class Shelf:
    """One host's. Every method may be repeated after a crash at any point."""

    def __init__(self, api: Api, target: Target, place: Place, found: Guest | None) -> None:
        self._api, self._target, self._place = api, target, place
        self._provider = on(target)
        self._kind = kind_of(target)
        self._found = found

    @property
    def guest(self) -> Guest | None:
        """What was found, or has been made."""
        return self._found

    def put(self, name: str, disk: Disk) -> None:
        """An empty disk; one that lies there already stays as it is."""
        shelf = self._require()
        kept = disks(shelf)
        if name in kept:
            return
        slot = self._free_slot(shelf)
        options = self._options(name, disk)
        value = f"{self._provider.storage}:{disk.size // _GIB},{options}"
        kept[name] = Kept(name, Drive(slot, "", {}), disk.durable)
        self._set(shelf, kept, **{slot: value})
        point("l2.shelf.put")
        self._again()

    def remark(self, name: str, *, durable: bool) -> None:
        """Whether it outlives a rebuild, from now on."""
        shelf = self._require()
        kept = disks(shelf)
        if name in kept:
            kept[name] = Kept(name, kept[name].drive, durable)
            self._set(shelf, kept)

    def drop(self, name: str) -> None:
        """Remove a disk and everything on it; the shelf itself with its last one."""
        shelf = self._found
        kept = disks(shelf)
        if shelf is None or name not in kept:
            return
        doing = f"remove the disk {name} of {self._place.host}"
        left = {n: k for n, k in kept.items() if n != name}
        if not left:  # in one step, so that no empty shelf is left by a run that is cut off
            remove(self._api, shelf, doing)
            self._found = None
            return
        self._api.put(f"{shelf.path}/config", doing=doing, protection=False)
        point("l2.shelf.open")
        # force: the volume too, not only its place; an lxc's is removed from among the unused.
        force = {"force": True} if self._kind == QEMU else {}
        self._api.put(f"{shelf.path}/config", doing=doing, delete=kept[name].drive.slot, **force)
        point("l2.shelf.dropped")
        self._again()
        self._empty_unused(kept[name].drive, doing)
        assert self._found is not None  # noqa: S101 (it has disks)
        self._set(self._found, left, protection=True)
        self._again()

    def resize(self, name: str, size: int, machine: Guest | None) -> None:
        """Let a disk grow: where it is attached through its machine, which tells the guest."""
        shelf = self._require()
        drive = disks(shelf)[name].drive
        holder, slot = shelf, drive.slot
        if machine is not None:
            attached = [d.slot for d in machine.drives() if d.volume == drive.volume]
            holder, slot = (machine, attached[0]) if attached else (shelf, slot)
        grow(self._api, holder, slot, size, f"let the disk {name} of {self._place.host} grow")
        if holder is not shelf and self._kind == QEMU:  # it reads the size anew
            doing = f"note the new size of the disk {name} of {self._place.host}"
            options = [f"{k}={v}" for k, v in drive.options.items() if k != "size"]
            value = ",".join([drive.volume, *options])
            self._api.put(f"{shelf.path}/config", doing=doing, **{drive.slot: value})

    def rescue(self, machine: Guest, drive: Drive) -> None:
        """Take over a disk of a machine that is about to be removed: nobody declared it."""
        shelf = self._require()
        slot, kept = self._free_slot(shelf), disks(shelf)
        doing = f"keep the disk {drive.slot} of {self._place.host}"
        verb, what = ("move_disk", "disk") if self._kind == QEMU else ("move_volume", "volume")
        words = {what: drive.slot, "target-vmid": shelf.vmid, f"target-{what}": slot}
        upid = self._api.post(f"{machine.path}/{verb}", doing=doing, **words)
        if upid:
            wait(self._api, str(upid), doing=doing, deadline=_DEADLINE)
        kept[f"kept-{drive.slot}"] = Kept("", Drive(slot, "", {}), durable=True)
        self._set(self._require(), kept)
        self._again()

    def remove(self) -> None:
        """Remove the shelf, which is empty. Raises DriverError where it is not."""
        self._again()
        shelf = self._found
        if shelf is None:
            return
        if disks(shelf):
            raise DriverError(
                f"Unable to remove the shelf of {self._place.host}: disks lie on it.",
                hint=f"lab plan host={self._place.host}",
            )
        remove(self._api, shelf, f"remove the shelf of {self._place.host}")
        self._found = None

    def _require(self) -> Guest:
        if self._found is None:
            self._found = self._make()
        return self._found

    def _make(self) -> Guest:
        place, api = self._place, self._api
        numbers = place.workspace.resource(Numbers)
        for _ in range(_TRIES):
            vmid = numbers.choose(api, self._provider, place, SHELF)
            place.note(shelf=vmid)
            point("l2.shelf.claimed")
            doing = f"make the shelf of {place.host}"
            try:
                upid = api.post(
                    f"nodes/{self._node}/{self._kind}", doing=doing, vmid=vmid, **self._words()
                )
            except Refused as refused:
                if refused.is_taken:
                    continue  # somebody was faster; that number is his
                raise
            if upid:
                wait(api, str(upid), doing=doing, deadline=_DEADLINE)
            point("l2.shelf.made")
            self._again()
            if self._found is not None:
                return self._found
        raise DriverError(
            f"Unable to make the shelf of {self._place.host}: others take each VMID first.",
            hint="the same command again",
        )

    @property
    def _node(self) -> str:
        return self._place.read().node or self._provider.node

    def _words(self) -> dict[str, Any]:
        name, machine = f"{self._place.called}-disks", self._target.spec.machine
        pool = machine.pool or self._provider.pool
        words: dict[str, Any] = {
            "memory": _LEAST,
            "description": self._place.mark(SHELF, disks={}, disposable=[]).text,
            "tags": ";".join(sorted({*self._place.marks, SHELF_TAG})),
            "onboot": False,
            "protection": True,
            **({"pool": pool} if pool else {}),
        }
        if isinstance(machine, Container):
            rootfs = f"{self._provider.storage}:1"
            own = {"hostname": name, "ostemplate": machine.template, "rootfs": rootfs}
            return words | own | {"unprivileged": not machine.privileged}
        return words | {"name": name}

    def _set(self, shelf: Guest, kept: dict[str, Kept], **more: Any) -> None:
        slots = {name: k.drive.slot for name, k in sorted(kept.items())}
        passing = sorted(name for name, k in kept.items() if not k.durable)
        text = self._place.mark(SHELF, disks=slots, disposable=passing).text
        doing = f"note what lies on the shelf of {self._place.host}"
        self._api.put(f"{shelf.path}/config", doing=doing, description=text, **more)

    def _again(self) -> None:
        """Look at it anew: what was changed counts, not what was meant."""
        vmid = self._found.vmid if self._found else self._place.read().shelf
        place = self._place
        self._found = guests.find(self._api, place, machine=0, shelf=vmid).shelf

    def _free_slot(self, shelf: Guest) -> str:
        taken = {drive.slot for drive in shelf.drives()}
        for slot in _SLOTS[self._kind]:
            if slot not in taken:
                return slot
        raise DriverError(f"Unable to give {self._place.host} another disk: its shelf is full.")

    def _options(self, name: str, disk: Disk) -> str:
        return f"serial={name}" if self._kind == QEMU else f"mp={disk.mount}"

    def _empty_unused(self, drive: Drive, doing: str) -> None:
        """What was only taken from its place is still there, among the unused."""
        if self._found is None:
            return
        for left in self._found.drives():
            if left.slot.startswith("unused") and left.volume == drive.volume:
                self._api.put(f"{self._found.path}/config", doing=doing, delete=left.slot)
                self._again()


def grow(api: Api, guest: Guest, slot: str, size: int, doing: str) -> None:
    """Let a disk grow to that many bytes."""
    upid = api.put(f"{guest.path}/resize", doing=doing, disk=slot, size=f"{size // _GIB}G")
    if upid:
        wait(api, str(upid), doing=doing, deadline=_DEADLINE)


def remove(api: Api, guest: Guest, doing: str) -> None:
    """Remove a machine that is off, with the volumes that are its own, and see that it is gone."""
    try:
        if guest.live.get("protection") == "1":
            api.put(f"{guest.path}/config", doing=doing, protection=False)
        words = {"purge": True, "destroy-unreferenced-disks": True}
        upid = api.delete(guest.path, doing=doing, **words)
    except Refused as refused:
        if not refused.is_absent:
            raise
        return
    wait(api, str(upid), doing=doing, deadline=_DEADLINE)
