"""Disks that are no boot disk stay out of its archive, and only of that one.

The node leaves out what its configuration says to (``backup=0``). That counts for everybody's
backups, so it is taken back as soon as the archive is made, also after a crash: the record knows.
"""

from __future__ import annotations

from lab.clients.proxmox import Api
from lab.errors import DriverError
from lab.faults import point
from layers.l2_instantiate.drivers.terraform import guests
from layers.l2_instantiate.drivers.terraform.guests import Drive, Guest
from layers.l2_instantiate.drivers.terraform.place import Place

_WORD, _NO = "backup", "0"


def others(guest: Guest) -> frozenset[str]:
    """Volumes of every disk that it has besides the one that it boots from."""
    return frozenset(drive.volume for drive in _others(guest))


def leave_out(api: Api, place: Place, guest: Guest) -> None:
    """Let the node leave them out, and see that the running machine has taken it."""
    wanted = [d for d in _others(guest) if d.options.get(_WORD) != _NO]
    if not wanted:
        return
    before = place.read().left_out
    place.note(left_out=tuple(sorted({*before, *(d.volume for d in wanted)})))
    point("l2.archive.leaving_out")
    doing = f"keep the other disks of {place.host} out of its archive"
    values = {drive.slot: _value(drive, leave_out=True) for drive in wanted}
    api.put(f"{guest.path}/config", doing=doing, **values)
    now = again(api, guest)
    still = [d.slot for d in _others(now) if d.options.get(_WORD) != _NO] if now else []
    if still:
        put_back(api, place)
        raise DriverError(
            f"Unable to capture the boot disk of {place.host}: VM {guest.vmid} does not let go of"
            f" {', '.join(still)} while it runs.",
            hint=f"qm set {guest.vmid} --hotplug network,disk,usb   (on {guest.node})",
        )


def put_back(api: Api, place: Place) -> None:
    """What was left out goes into backups again; nothing else is touched."""
    record = place.read()
    if not record.left_out:
        return
    guest = guests.find(api, place, machine=record.vmid, shelf=record.shelf).machine
    if guest is not None:
        out = [d for d in _others(guest) if d.volume in record.left_out]
        values = {d.slot: _value(d, leave_out=False) for d in out if d.options.get(_WORD) == _NO}
        if values:
            doing = f"put the disks of {place.host} into backups again"
            api.put(f"{guest.path}/config", doing=doing, **values)
    place.note(left_out=())


def again(api: Api, guest: Guest) -> Guest | None:
    """That machine as it is now; ``None``: it is gone."""
    api.touched()
    row = guests.rows(api).get(guest.vmid)
    return guests.read(api, row) if row is not None else None


def _others(guest: Guest) -> list[Drive]:
    root = guest.root()
    slot = root.slot if root else ""
    drives = [d for d in guest.drives() if not d.is_cd and not d.slot.startswith("unused")]
    return [d for d in drives if d.slot != slot]


def _value(drive: Drive, *, leave_out: bool) -> str:
    options = {name: value for name, value in drive.options.items() if name != _WORD}
    options |= {_WORD: _NO} if leave_out else {}
    return ",".join([drive.volume, *(f"{name}={value}" for name, value in options.items())])
