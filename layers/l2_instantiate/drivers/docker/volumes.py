"""Disks as volumes: each carries our mark in its labels.

Labels are for life. What changes later (a disk becomes durable, or is taken over from somebody
else) is kept in the mark on this machine, and counts more.
"""

from __future__ import annotations

import threading
from typing import Any

from lab.clients.docker import Engine, Refused
from lab.errors import NotOwned
from lab.faults import point
from layers.l2_instantiate.drivers.docker.place import Place
from layers.l2_instantiate.machines import ROOT
from layers.l2_instantiate.spec import ObservedDisk, Spec

_DISK = "strata.disk"
_DURABLE = "strata.durable"
_SIZE = "strata.size"


def find(place: Place, spec: Spec, *, sizes: bool = False) -> dict[str, ObservedDisk]:
    """The disks besides root that are there: ours, and foreign ones in the place of declared ones.

    No engine limits a volume, so a declared disk has the size that is declared.
    """
    query = {"filters": {"name": [place.volume("")]}}
    doing = f"look at the disks of {place.host}"
    found = (place.engine.get("/volumes", query, doing=doing) or {}).get("Volumes") or ()
    used = place.workspace.resource(Weights).of(place.engine) if sizes and found else {}
    disks: dict[str, ObservedDisk] = {}
    for volume in found:
        labels = volume.get("Labels") or {}
        name = volume["Name"].removeprefix(place.volume(""))
        mark = place.read_mark(name)
        ours = place.is_ours(labels) and labels.get(_DISK) == name
        if not ours and mark is None and name not in spec.machine.disks:
            continue  # another host's, whose name begins as this one's does
        declared = spec.machine.disks.get(name)
        disks[name] = ObservedDisk(
            size=declared.size if declared else int(labels.get(_SIZE, "0")),
            used=used.get(volume["Name"]),
            durable=mark.durable if mark else labels.get(_DURABLE) != "false",
            owned=ours or mark is not None,
            place=f"the volume {volume['Name']}",
        )
    return dict(sorted(disks.items()))


def make(place: Place, spec: Spec, name: str) -> None:
    """An empty volume; one that is there already, and ours, stays as it is."""
    disk = spec.machine.disks[name]
    labels = {
        **place.labels,
        _DISK: name,
        _DURABLE: str(disk.durable).lower(),
        _SIZE: str(int(disk.size)),
    }
    body = {"Name": place.volume(name), "Labels": labels}
    doing = f"make the disk {name} of {place.host}"
    made: dict[str, Any] = place.engine.post("/volumes/create", body=body, doing=doing)
    point("l2.volume.made")
    if not place.is_ours(made.get("Labels") or {}) and place.read_mark(name) is None:
        raise NotOwned(f"Unable to {doing}: the volume {place.volume(name)} is not this lab's.")


def remove(place: Place, name: str) -> None:
    """The volume and everything on it, then its mark."""
    doing = f"remove the disk {name} of {place.host}"
    place.engine.delete(f"/volumes/{place.volume(name)}", doing=doing)
    place.disk_mark(name).unlink(missing_ok=True)
    if place.disks.exists() and not any(place.disks.iterdir()):
        place.disks.rmdir()


def empty_disposable(place: Place, spec: Spec) -> None:
    """Disks that are not durable start anew with their machine. Nothing may use them."""
    for name, disk in find(place, spec).items():
        declared = spec.machine.disks.get(name)
        if declared and not declared.durable and not disk.durable and disk.owned and name != ROOT:
            remove(place, name)
            make(place, spec, name)


def remove_inner(place: Place) -> None:
    """What engines inside containers of ours left, where somebody removed those by hand."""
    doing = f"look for leftovers of {place.host}"
    query = {"filters": {"label": [f"{key}={value}" for key, value in place.labels.items()]}}
    found = (place.engine.get("/volumes", query, doing=doing) or {}).get("Volumes") or ()
    for volume in found:
        if _DISK not in volume["Labels"]:
            doing = f"remove a leftover of {place.host}"
            place.engine.delete(f"/volumes/{volume['Name']}", doing=doing)


class Weights:
    """What volumes hold. The engine adds it up, which can take seconds: once a run."""

    def __init__(self, workspace: object) -> None:
        del workspace
        self._used: dict[str, dict[str, int]] = {}
        self._lock = threading.Lock()

    def of(self, engine: Engine) -> dict[str, int]:
        """Volume to bytes; those that are not known are left out."""
        with self._lock:
            if engine.address not in self._used:
                self._used[engine.address] = _weigh(engine)
            return self._used[engine.address]


def _weigh(engine: Engine) -> dict[str, int]:
    try:
        told = engine.get("/system/df", doing="weigh the volumes") or {}
    except Refused:  # it is at it already, for somebody else
        return {}
    usage = {v["Name"]: (v.get("UsageData") or {}).get("Size", -1) for v in told["Volumes"] or ()}
    return {name: size for name, size in usage.items() if size >= 0}
