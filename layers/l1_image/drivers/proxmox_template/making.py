"""One template brought about, looking before each step what is there.

So a run that was killed, an answer that was lost or another run cost a look, never a twin.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lab.clients.proxmox import Refused, Sent, TaskLost, Unclear, wait
from lab.errors import DriverError
from lab.faults import point
from lab.layer import Target, Workspace
from lab.model.baseline import Baseline
from lab.model.proxmox import TAG, TEMPLATE_TAG
from layers.l1_image import baseline, debian, disk, download, tree
from layers.l1_image.drivers.proxmox_template.mark import Mark
from layers.l1_image.drivers.proxmox_template.records import Record, Records, now
from layers.l1_image.drivers.proxmox_template.shelf import Found, Shelf
from layers.l1_image.spec import Inputs, Spec

_ROUNDS = 4
_SETTLE = 1.0
_PIECE = 1 << 20
_COPY, _IMPORT, _CONVERT = 1800.0, 3600.0, 900.0
_BY_THE_NODE = (".qcow2", ".raw")
_PERMILLE = 1000


@dataclass
class Making:
    """One template on its way. ``folder`` is to build in, and gone afterwards."""

    target: Target[Spec, Inputs]
    workspace: Workspace
    shelf: Shelf
    records: Records
    folder: Path
    log: Path
    _tried: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The template's."""
        return self.target.spec.name

    def run(self) -> None:
        """Until it is there, whole. Safe to repeat after a crash at any point."""
        for left in reversed(range(_ROUNDS)):
            try:
                vmid = self._finished() or self._made()
            except (Unclear, TaskLost):
                if not left:
                    raise
                self.shelf.api.pause(_SETTLE)
            else:
                self._remember(vmid)
                self._tidy()
                return

    def _finished(self) -> int | None:
        """The VMID, once it is there; what is half made is finished or taken away."""
        for found in self._look():
            self.shelf.wait_for_others(found.vmid)
        there = sorted(self._look(), key=_how_far, reverse=True)
        best = there[0] if there and _how_far(there[0]) else None
        for found in there:
            if not found.ready and found is not best:
                self.target.report(f"take away VM {found.vmid}, which was left half made")
                self.shelf.destroy(found)
        if best is not None and not best.ready:
            if not best.is_template:
                self._convert(best.vmid)
            self.shelf.set_ready(best.vmid, self.name)
        return None if best is None else best.vmid

    def _look(self) -> tuple[Found, ...]:
        self.shelf.api.touched()
        return tuple(f for f in self.shelf.find(self.name) if not f.mark.captured)

    def _made(self) -> int:
        volume = self._image()
        vmid = self._create(volume)
        point("l1.proxmox.after_create")
        self._convert(vmid)
        self.shelf.set_ready(vmid, self.name)
        return vmid

    def _convert(self, vmid: int) -> None:
        doing = f"make VM {vmid} a template"
        path = f"nodes/{self.shelf.node}/qemu/{vmid}/template"
        self._wait(self.shelf.api.post(path, doing=doing), doing, _CONVERT)
        point("l1.proxmox.after_convert")

    # The image, on the node's storage.

    def _image(self) -> str:
        """The volume with the disk; what was sent before, whole, is not sent again."""
        base = self.target.spec.image.base
        by_node = urlsplit(base.url).scheme in {"http", "https"} and _ending(base.url)
        ending = _ending(base.url) if by_node else ".qcow2"
        volume = f"{self.shelf.provider.template_storage}:import/{self.name}{ending}"
        self.shelf.wait_for_copies()
        there, record = self.shelf.image(volume), self._record()
        if there is not None and record.volume == volume and record.volume_size == there.size:
            return volume
        if there is not None:
            self.shelf.drop_image(volume)
        if by_node:
            record = self.records.put(record.model_copy(update={"baseline": Baseline()}))
            self._fetch(volume)
        else:
            record = self._build_and_send(record, volume)
        point("l1.proxmox.after_send")
        arrived = self.shelf.image(volume)
        if arrived is None:
            raise DriverError(
                f"Unable to make the template {self.name}: {volume} was sent and is not there.",
                hint="the same command again",
            )
        self.records.put(record.model_copy(update={"volume": volume, "volume_size": arrived.size}))
        return volume

    def _fetch(self, volume: str) -> None:
        base = self.target.spec.image.base
        algorithm, checksum = base.checksum.split(":")
        doing = f"let {self.shelf.node} download {base.url}"
        params: dict[str, Any] = {
            "content": "import",
            "filename": volume.rsplit("/", 1)[-1],
            "url": base.url,
            "checksum": checksum,
            "checksum-algorithm": algorithm,
            "verify-certificates": True,
        }
        path = f"{self._storage()}/download-url"
        self._wait(self.shelf.api.post(path, doing=doing, **params), doing, _COPY)

    def _build_and_send(self, record: Record, volume: str) -> Record:
        file = self.folder / "disk.qcow2"
        if not file.exists():  # a round before this one may have built it
            found = self._build()
            values = {"baseline": found, "size": file.stat().st_size, "made": now()}
            record = self.records.put(record.model_copy(update=values))
        doing = f"send {volume} to {self.shelf.node}"
        sent = Sent(file, volume.rsplit("/", 1)[-1], self._counting)
        params = {
            "content": "import",
            "checksum": _digest(file, self.workspace),
            "checksum-algorithm": "sha256",
        }
        upid = self.shelf.api.upload(f"{self._storage()}/upload", sent, doing=doing, **params)
        self._wait(upid, doing, _COPY)
        return record

    def _build(self) -> Baseline:
        spec, report = self.target.spec, self.target.report
        if not spec.image.base.suite:
            download.make(spec, self.folder, self.workspace, report)
            return Baseline()
        recipe = debian.proxmox_recipe(os.uname().nodename)
        tree.make(spec, recipe, self.folder, self.workspace, report, self.log)
        units = (self.folder / "units.txt").read_text()
        found = baseline.read(self.folder / "tree", units)
        disk.make(spec, self.folder, self.workspace, report)
        return found

    def _counting(self, done: int, total: int) -> None:
        self.workspace.check()
        self.target.report(f"send the image to {self.shelf.node}", done, total)

    def _storage(self) -> str:
        return f"nodes/{self.shelf.node}/storage/{self.shelf.provider.template_storage}"

    # The VM.

    def _create(self, volume: str) -> int:
        for vmid in self._candidates():
            self.records.put(self._record().model_copy(update={"vmid": vmid}))
            point("l1.proxmox.before_create")
            doing = f"make VM {vmid} of {volume}"
            try:
                upid = self.shelf.api.post(
                    f"nodes/{self.shelf.node}/qemu", doing=doing, **self._settings(vmid, volume)
                )
            except Refused as refused:
                if not refused.is_taken:
                    raise
                self._tried.add(vmid)  # by somebody who was quicker
                continue
            self._wait(upid, doing, _IMPORT)
            return vmid
        ids = self.shelf.provider.vmids.templates
        raise DriverError(
            f"Unable to make the template {self.name}: none of the VMIDs {ids} is free.",
            hint="widen vmids.templates of the provider in lab.yaml",
        )

    def _candidates(self) -> Iterator[int]:
        """The VMID that was meant before comes first: an answer that was lost makes no twin."""
        meant = self._record().vmid
        if meant is not None and self.shelf.api.id_is_free(meant):
            yield meant
        yield from (number for number in self.shelf.free_ids() if number not in self._tried)

    def _settings(self, vmid: int, volume: str) -> dict[str, Any]:
        provider = self.shelf.provider
        unfinished = Mark(self.shelf.lab, self.name, provider.storage, vmid)
        return {
            "vmid": vmid,
            "name": self.name,
            "description": unfinished.text,
            "tags": f"{TAG};{TEMPLATE_TAG}",
            "pool": provider.pool,
            "ostype": "l26",
            "machine": "q35",
            "bios": "ovmf",
            # Our loader is not signed: without enrolled keys the firmware does not ask for that.
            "efidisk0": f"{provider.storage}:1,efitype=4m,pre-enrolled-keys=0",
            "scsihw": "virtio-scsi-single",
            "scsi0": f"{provider.storage}:0,import-from={volume},discard=on,iothread=1",
            "boot": "order=scsi0",
            "serial0": "socket",
            "agent": "enabled=1",
            "cores": 1,
            "memory": 1024,
        }

    def _remember(self, vmid: int) -> None:
        record = self._record()
        values = {"vmid": vmid, "made": record.made or now()}
        self.records.put(record.model_copy(update=values))

    def _tidy(self) -> None:
        """The image has served. One that will not go is pruned by a later run."""
        record = self._record()
        if record.volume:
            self.target.report("remove the image that was sent")
            with contextlib.suppress(DriverError):
                self.shelf.drop_image(record.volume)
                self.records.without_image(record)

    def _record(self) -> Record:
        place = self.shelf.provider
        known = self.records.get(place, self.name)
        return known or Record(
            name=self.name, place=place.place, definition=self.target.spec.definition
        )

    def _wait(self, upid: object, doing: str, deadline: float) -> None:
        def telling(percent: float) -> None:
            self.target.report(doing, int(percent * 10), _PERMILLE)

        self.target.report(doing)
        wait(self.shelf.api, str(upid), doing=doing, deadline=deadline, telling=telling)


def _how_far(found: Found) -> int:
    """What can be gone on with, furthest first; 0: nothing."""
    if found.is_template:
        return (2 if found.has_base else 0) + found.ready
    return 1 if found.has_disk else 0


def _ending(url: str) -> str:
    """``.qcow2`` or ``.raw``: what a node takes by that name. ``""``: it is looked into here."""
    path = urlsplit(url).path.lower()
    return next((ending for ending in _BY_THE_NODE if path.endswith(ending)), "")


def _digest(file: Path, workspace: Workspace) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            workspace.check()
            digest.update(piece)
    return digest.hexdigest()
