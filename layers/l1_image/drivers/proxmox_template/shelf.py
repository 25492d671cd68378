"""The node's side: templates of this lab by their marks, and the images they are made from."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lab.clients.proxmox import Api, Refused, TaskFailed, TaskLost, Vm, Volume, wait
from lab.errors import DriverError
from lab.model.proxmox import TAG, TEMPLATE_TAG, Proxmox
from layers.l1_image.drivers.proxmox_template import mark
from layers.l1_image.drivers.proxmox_template.mark import Mark

_DISK = "scsi0"
_DRIVE = re.compile(r"^(?:scsi|virtio|sata|ide)\d+$")
_DESTROY = 600.0
_OTHERS = 3600.0
_IN_USE = "still in use"


@dataclass(frozen=True, slots=True)
class Found:
    """A VM that carries our mark.

    Attributes:
        is_template: The node was told to make it one.
        has_disk: It was made to its end, disk and all.
        has_base: Its disk was turned into one that others can be cloned from.
    """

    vmid: int
    mark: Mark
    is_template: bool
    has_disk: bool
    has_base: bool

    @property
    def ready(self) -> bool:
        """Whether machines can be made from it."""
        return self.is_template and self.mark.ready


class Shelf:
    """The templates of one lab in one place: a node and a storage."""

    def __init__(self, api: Api, provider: Proxmox, lab: str) -> None:
        self.api, self.provider, self.lab = api, provider, lab
        self.node = provider.node

    def all(self) -> tuple[Found, ...]:
        """Every VM here that is a template of this lab, or half of one; lowest VMID first.

        Raises DriverError where the token may not look: nothing seen is not nothing there.
        """
        self._check_sight()
        rows = self.api.once(f"nodes/{self.node}/qemu", doing=f"list the machines of {self.node}")
        there = (Vm.of({"node": self.node, **row}) for row in rows)
        ours = sorted(
            (vm for vm in there if {TAG, TEMPLATE_TAG} <= vm.tags), key=lambda vm: vm.vmid
        )
        return tuple(found for vm in ours if (found := self._look(vm.vmid)) is not None)

    def find(self, name: str) -> tuple[Found, ...]:
        """Those that are that template."""
        return tuple(found for found in self.all() if found.mark.template == name)

    def clones(self) -> dict[int, frozenset[int]]:
        """Templates whose disks others lie on: VMID to the VMIDs of those."""
        found: dict[int, set[int]] = {}
        for volume in self.api.volumes(self.node, self.provider.storage, "images"):
            base = _base_of(volume.parent)
            if base is not None and volume.vmid is not None:
                found.setdefault(base, set()).add(volume.vmid)
        return {base: frozenset(clones) for base, clones in found.items()}

    def image(self, volume: str) -> Volume | None:
        """An image that lies on the storage for images."""
        there = self.api.volumes(self.node, self.provider.template_storage, "import")
        return next((v for v in there if v.name == volume), None)

    def drop_image(self, volume: str) -> None:
        """Take it away; gone is fine."""
        path = f"nodes/{self.node}/storage/{self.provider.template_storage}/content/{volume}"
        doing = f"remove {volume}"
        try:
            upid = self.api.delete(path, doing=doing)
        except Refused as refused:
            if refused.is_absent or self.image(volume) is None:
                return
            raise
        if upid:
            wait(self.api, str(upid), doing=doing, deadline=_DESTROY)

    def free_ids(self) -> Iterator[int]:
        """VMIDs that are ours to use and nobody's now, lowest first."""
        taken = {vm.vmid for vm in self.api.vms()}
        for number in self.provider.vmids.templates.numbers:
            if number not in taken and self.api.id_is_free(number):
                yield number

    def wait_for_others(self, vmid: int) -> None:
        """Let tasks end that work on a VM now: those of a run that was killed go on."""
        path = f"nodes/{self.node}/tasks"
        doing = f"see what is done with VM {vmid}"
        for row in self.api.get(path, doing=doing, source="active", vmid=vmid):
            if str(row.get("status", "RUNNING")) == "RUNNING":
                with contextlib.suppress(TaskFailed, TaskLost):
                    wait(self.api, str(row["upid"]), doing=doing, deadline=_OTHERS)

    def wait_for_copies(self) -> None:
        """Let images be put in place that a killed run sent."""
        self.wait_for("imgcopy", "download")

    def wait_for(self, *kinds: str) -> None:
        """Let tasks of these kinds end that we began."""
        path = f"nodes/{self.node}/tasks"
        doing = "see what is on its way"
        for row in self.api.get(path, doing=doing, source="active"):
            if row.get("type") in kinds and self.is_own(row):
                with contextlib.suppress(TaskFailed, TaskLost):
                    wait(self.api, str(row["upid"]), doing=doing, deadline=_OTHERS)

    def is_own(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of the list of tasks is one of ours."""
        who = str(row.get("user", ""))
        token = row.get("tokenid")
        return (f"{who}!{token}" if token else who) == self.api.who

    def destroy(self, found: Found) -> bool:
        """Delete one of ours, whole or half made; False: somebody's disk lies on it.

        What does not carry our mark (any more) is left alone.
        """
        if self._look(found.vmid, anew=True) is None:
            return True
        doing = f"delete VM {found.vmid} ({found.mark.template})"
        try:
            upid = self.api.delete(f"nodes/{self.node}/qemu/{found.vmid}", doing=doing)
            wait(self.api, str(upid), doing=doing, deadline=_DESTROY)
        except (Refused, TaskFailed) as error:
            if isinstance(error, Refused) and error.is_absent:
                return True
            if _IN_USE in error.text:
                return False
            if "locked" in error.text:
                error.hint = f"qm unlock {found.vmid} && qm destroy {found.vmid}   (on the node)"
            raise
        return True

    def set_ready(self, vmid: int, name: str, captured: str = "") -> None:
        """The last step: from now on it counts."""
        ready = Mark(self.lab, name, self.provider.storage, vmid, ready=True, captured=captured)
        path = f"nodes/{self.node}/qemu/{vmid}/config"
        self.api.put(path, doing=f"mark VM {vmid} as ready", description=ready.text)

    def _look(self, vmid: int, *, anew: bool = False) -> Found | None:
        if anew:
            self.api.touched()
        path = f"nodes/{self.node}/qemu/{vmid}/config"
        try:
            config: dict[str, Any] = self.api.once(path, doing=f"read the configuration of {vmid}")
        except Refused as refused:
            if refused.is_absent:
                return None
            raise
        told = mark.read(config.get("description"))
        ours = (self.lab, self.provider.storage, vmid)
        if told is None or (told.lab, told.storage, told.vmid) != ours:
            return None
        disk = str(config.get(boot_slot(config), "")).split(",", maxsplit=1)[0]
        is_template = str(config.get("template", 0)) == "1"
        has_disk = bool(disk) and not config.get("lock")
        return Found(vmid, told, is_template, has_disk, f"base-{vmid}-" in disk)

    def _check_sight(self) -> None:
        place = f"/pool/{self.provider.pool}" if self.provider.pool else "/vms"
        if self.api.privileges().lacking(place, ["VM.Audit"]):
            raise DriverError(
                f"Unable to see the templates on {self.node}: {self.api.who} lacks VM.Audit on "
                f"{place}.",
                hint="lab doctor   (it names every privilege that is missing)",
            )


def boot_slot(config: Mapping[str, Any]) -> str:
    """The slot of the disk that it boots from: the first of its boot order."""
    order = str(config.get("boot") or "").partition("order=")[2].split(",", maxsplit=1)[0]
    for slot in order.split(";"):
        if _DRIVE.match(slot) and slot in config and "media=cdrom" not in str(config[slot]):
            return slot
    return _DISK


def _base_of(parent: str) -> int | None:
    """``base-9000-disk-0`` in the name of the disk that another lies on."""
    _, found, rest = parent.partition("base-")
    number = rest.partition("-")[0]
    return int(number) if found and number.isdigit() else None
