"""A template out of an archived boot disk: restored, cleaned from within, looking before each step.

The node can restore it and nobody can mount it, so it starts once, without a network, from a CD of
ours whose script cleans the disk and powers it off when all of that succeeded (``cleaning``). That
it is off says so only if nobody else ended it: the node's list of tasks and its own start tell.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.clients import iso
from lab.clients.proxmox import (
    Refused,
    Sent,
    TaskFailed,
    TaskLost,
    Unclear,
    wait,
)
from lab.errors import DeadlineExceeded, DriverError
from lab.faults import point
from lab.layer import Report, Workspace
from lab.model.baseline import Baseline
from lab.model.proxmox import TAG, TEMPLATE_TAG
from lab.model.template import ArchivedCandidate
from layers.l1_image import cleaning
from layers.l1_image.drivers.proxmox_template import restored
from layers.l1_image.drivers.proxmox_template.mark import Mark
from layers.l1_image.drivers.proxmox_template.records import Record, Records, now
from layers.l1_image.drivers.proxmox_template.shelf import Found, Shelf
from layers.l1_image.identity import IDENTITY
from layers.l1_image.spec import RECIPE, Definition

_ROUNDS = 4
_SETTLE, _TICK = 1.0, 2.0
_RESTORE, _START, _CONVERT, _COPY = 6 * 3600.0, 300.0, 900.0, 300.0
_LEAST, _SLOWEST = 900.0, 20 << 20
"""Seconds that a cleaning may take, and as much more as its disk has at so many bytes a second."""
_PERMILLE = 1000
_ENDING = ("qmstop", "qmshutdown", "qmreset", "qmreboot")
"""Tasks by which somebody else may have ended it."""


@dataclass
class Adopting:
    """One template on its way."""

    candidate: ArchivedCandidate
    workspace: Workspace
    shelf: Shelf
    records: Records
    report: Report
    _tried: set[int] = field(default_factory=set)

    def run(self) -> None:
        """Until it is there, whole. Safe to repeat after a crash at any point."""
        for left in reversed(range(_ROUNDS)):
            try:
                vmid = self._gone_on_with() or self._anew()
            except (Unclear, TaskLost):
                if not left:
                    raise
                self.shelf.api.pause(_SETTLE)
            else:
                self._remember(vmid)
                return

    # What there is.

    def _gone_on_with(self) -> int | None:
        """The VMID of one that was finished; what cannot be gone on with is taken away."""
        self.shelf.wait_for("qmrestore")  # until it ends, nothing on a VM says whose it is
        for found in self._look():
            self.shelf.wait_for_others(found.vmid)
        self._drop_unrestored()
        there = sorted(self._look(), key=lambda f: (f.ready, f.is_template, f.mark.cleaned))
        best = there.pop() if there else None
        for found in there:
            self._take_away(found)
        if best is None:
            return None
        if best.ready:
            return best.vmid
        if not best.mark.cleaned and not self._was_cleaned(best):
            self._take_away(best)
            return None
        return self._finish(best.vmid)

    def _look(self) -> tuple[Found, ...]:
        self.shelf.api.touched()
        return tuple(f for f in self.shelf.find(self.candidate.name) if f.mark.captured)

    def _drop_unrestored(self) -> None:
        """A VM whose restore failed: the node leaves it without a name, and without our mark.

        It is taken away if we noted its VMID before, and the node says that we restored there.
        """
        record = self.records.get(self.shelf.provider, self.candidate.name)
        vmid = record.vmid if record is not None else None
        config = self.shelf.api.config(self.shelf.node, vmid) if vmid is not None else None
        if vmid is None or config is None or {"name", "description", "template"} & set(config):
            return
        if any(self.shelf.is_own(row) for row in self._tasks(vmid, "qmrestore")):
            doing = f"take away VM {vmid}, which was not restored to its end"
            upid = self.shelf.api.delete(f"nodes/{self.shelf.node}/qemu/{vmid}", doing=doing)
            self._wait(upid, doing, _CONVERT)

    def _take_away(self, found: Found) -> None:
        self.report(f"take away VM {found.vmid}, which was left half made")
        if self._power(found.vmid) != "stopped":
            doing = f"stop VM {found.vmid}"
            path = f"nodes/{self.shelf.node}/qemu/{found.vmid}/status/stop"
            self._wait(self.shelf.api.post(path, doing=doing), doing, _START)
        self.shelf.destroy(found)
        self._drop_seed(found.vmid)

    def _was_cleaned(self, found: Found) -> bool:
        """One that a run which was killed had started: it may be at it, or have done it."""
        began = self._last_start(found.vmid)
        if began is None or not found.has_disk:
            return False
        left = began[0] + _limit(restored.size(self._config(found.vmid))) - self._node_time()
        if self._power(found.vmid) != "stopped":
            if left <= 0:
                return False
            self._await_off(found.vmid, left)
        return self._by_itself(found.vmid, began)

    # Anew.

    def _anew(self) -> int:
        vmid = self._restore()
        point("l1.adopt.restored")
        self._bring_seed(vmid)
        self._prepare(vmid)
        point("l1.adopt.prepared")
        self._start(vmid)
        point("l1.adopt.started")
        began = self._last_start(vmid)
        self._await_off(vmid, _limit(restored.size(self._config(vmid))))
        if began is None or not self._by_itself(vmid, began):
            raise DriverError(
                f"Unable to make the template {self.candidate.name}: somebody else ended VM {vmid}"
                " while its disk was being cleaned, so nobody knows whether that was done.",
                hint="the same command again; it begins anew",
            )
        return self._finish(vmid)

    def _restore(self) -> int:
        """The disk as it was captured, in a VM that is nobody's machine from its first moment."""
        archive, node = self.candidate.archive, self.shelf.node
        for vmid in self.shelf.free_ids():
            if vmid in self._tried:
                continue
            self._note(vmid)
            doing = f"restore {archive.volume} as VM {vmid}"
            try:
                upid = self.shelf.api.post(f"nodes/{node}/qemu", doing=doing, **self._words(vmid))
            except Refused as refused:
                if not refused.is_taken:
                    raise
                self._tried.add(vmid)  # by somebody who was quicker
                continue
            point("l1.adopt.restoring")
            try:
                self._wait(upid, doing, _RESTORE)
            except TaskFailed as failed:
                if "does not exist" in f"{failed.text} {' '.join(failed.lines)}":
                    failed.hint = f"lab capture host={self._host} --disk   (the archive is gone)"
                for found in self._look():  # the node leaves it as far as it came
                    self._take_away(found)
                self._drop_unrestored()
                raise
            return vmid
        ids = self.shelf.provider.vmids.templates
        raise DriverError(
            f"Unable to make the template {self.candidate.name}: none of the VMIDs {ids} is free.",
            hint="widen vmids.templates of the provider in lab.yaml",
        )

    def _words(self, vmid: int) -> dict[str, Any]:
        provider = self.shelf.provider
        return {
            "vmid": vmid,
            "archive": self.candidate.archive.volume,
            "storage": provider.storage,
            "unique": True,
            "pool": provider.pool,
            "name": self.candidate.name,
            "description": self._mark(vmid).text,
            "tags": f"{TAG};{TEMPLATE_TAG}",
            "onboot": False,
            "protection": False,
            "memory": 1024,
            "balloon": 0,
        }

    def _bring_seed(self, vmid: int) -> None:
        doing = f"bring the words that clean VM {vmid}"
        remove = (*IDENTITY, *self.candidate.remove)
        try:
            files = cleaning.seed(f"{self.candidate.name}-clean", remove)
        except ValueError as error:
            raise DriverError(
                f"Unable to make the template {self.candidate.name}: {error}.",
                hint="mend data: of the persona",
            ) from error
        image = iso.written(files, doing=doing)
        storage = self.shelf.provider.seed_storage
        with tempfile.NamedTemporaryFile(dir=self.workspace.runtime, suffix=".iso") as file:
            file.write(image)
            file.flush()
            sent = Sent(Path(file.name), self._seed(vmid), lambda done, total: None)  # noqa: ARG005
            path = f"nodes/{self.shelf.node}/storage/{storage}/upload"
            upid = self.shelf.api.upload(path, sent, doing=doing, content="iso")
        self._wait(upid, doing, _COPY)
        point("l1.adopt.seeded")

    def _prepare(self, vmid: int) -> None:
        """Nothing but its boot disk and our CD: no network, no device of the node's."""
        doing = f"take the network and all devices from VM {vmid}"
        config = self._config(vmid)
        foreign = restored.foreign(config, vmid)
        volume = f"{self.shelf.provider.seed_storage}:iso/{self._seed(vmid)}"
        slot, root = restored.free_cd(config, foreign), restored.root(config)
        words = {slot: f"{volume},media=cdrom", root: restored.discarding(config[root])}
        self._put(vmid, doing, **words, boot=f"order={root}", delete=",".join(foreign) or None)
        left = restored.foreign(self._config(vmid), vmid, but=slot)
        if left:  # a disk of its own that was detached is still there, unused
            self._put(vmid, doing, delete=",".join(left))
            left = restored.foreign(self._config(vmid), vmid, but=slot)
        if "startup" in self._config(vmid):
            with contextlib.suppress(Refused):  # it takes more than all else here
                self._put(vmid, doing, delete="startup")
        if left:
            raise DriverError(
                f"Unable to make the template {self.candidate.name}: VM {vmid} still has"
                f" {', '.join(left)}.",
                hint="the same command again; it begins anew",
            )

    def _start(self, vmid: int) -> None:
        doing = f"start VM {vmid} to clean its disk"
        path = f"nodes/{self.shelf.node}/qemu/{vmid}/status/start"
        self._wait(self.shelf.api.post(path, doing=doing), doing, _START)

    def _await_off(self, vmid: int, limit: float) -> None:
        """Until it is off. It is left on where it is not: its console says why."""
        began, words = time.monotonic(), "runs without a network and cleans its disk"
        self.report(f"VM {vmid} {words}")
        while self._power(vmid) != "stopped":
            gone = time.monotonic() - began
            if gone > limit:
                node = self.shelf.node
                raise DeadlineExceeded(
                    f"Unable to make the template {self.candidate.name}: VM {vmid} cleans its own"
                    f" disk, and did not power itself off within {limit:.0f} s.",
                    hint=f"its console says why (VM {vmid} on {node}: lines with strata:); "
                    "then the same command again, which begins anew",
                )
            self.report(f"VM {vmid} {words} ({gone:.0f} s)")
            self.shelf.api.pause(_TICK)

    def _by_itself(self, vmid: int, began: tuple[float, int]) -> bool:
        """Whether nobody but the machine ended it: no task did, and the node ran on."""
        status = self.shelf.api.get(f"nodes/{self.shelf.node}/status", doing="see how long it runs")
        if self._node_time() - float(status.get("uptime") or 0) > began[0]:
            return False
        return not any(when > began for kind in _ENDING for when in self._when(vmid, kind))

    def _last_start(self, vmid: int) -> tuple[float, int] | None:
        """When it was last started, by the node's clock; ``None``: not since it was restored."""
        last = max(self._when(vmid, "qmstart"), default=None)
        restored_at = max(self._when(vmid, "qmrestore"), default=(0.0, 0))
        return last if last is not None and last > restored_at else None

    def _when(self, vmid: int, kind: str) -> list[tuple[float, int]]:
        """When such tasks began: seconds, and within one of them the node's own count."""
        return [
            (float(row["starttime"]), int(row.get("pstart") or 0))
            for row in self._tasks(vmid, kind)
        ]

    def _tasks(self, vmid: int, kind: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.shelf.api.get(
            f"nodes/{self.shelf.node}/tasks",
            doing=f"see what was done with VM {vmid}",
            source="all",
            vmid=vmid,
            typefilter=kind,
        )
        return rows

    # Its end.

    def _finish(self, vmid: int) -> int:
        self._settle(vmid)
        point("l1.adopt.cleaned")
        self._drop_seed(vmid)
        found = next((f for f in self._look() if f.vmid == vmid), None)
        if found is None or not found.has_base:
            doing = f"make VM {vmid} a template"
            path = f"nodes/{self.shelf.node}/qemu/{vmid}/template"
            if found is None or not found.is_template:
                self._wait(self.shelf.api.post(path, doing=doing), doing, _CONVERT)
        point("l1.adopt.converted")
        self.shelf.set_ready(vmid, self.candidate.name, self.candidate.captured)
        return vmid

    def _settle(self, vmid: int) -> None:
        """As other templates are: no CD, and small."""
        config = self._config(vmid)
        cds = [key for key, value in config.items() if restored.is_cd(key, value)]
        doing = f"note that the disk of VM {vmid} is clean"
        mark = self._mark(vmid, cleaned=True)
        self._put(vmid, doing, description=mark.text, delete=",".join(cds) or None)

    def _drop_seed(self, vmid: int) -> None:
        """The CD has served; gone is fine."""
        storage, node = self.shelf.provider.seed_storage, self.shelf.node
        volume = f"{storage}:iso/{self._seed(vmid)}"
        doing = f"remove {volume}"
        self.shelf.api.touched()
        if not any(v.name == volume for v in self.shelf.api.volumes(node, storage, "iso")):
            return
        path = f"nodes/{node}/storage/{storage}/content/{volume}"
        upid = self.shelf.api.delete(path, doing=doing)
        if upid:
            self._wait(upid, doing, _COPY)

    def _note(self, vmid: int) -> None:
        """The VMID that it is tried with, before the node is asked."""
        provider, one = self.shelf.provider, self.candidate
        definition = Definition(
            recipe=RECIPE,
            architecture=os.uname().machine,
            base=f"the boot disk of {one.captured}",
            checksum=one.checksum,
        )
        made = Record(name=one.name, place=provider.place, definition=definition)
        known = self.records.get(provider, one.name) or made
        self.records.put(known.model_copy(update={"vmid": vmid}))

    def _remember(self, vmid: int) -> None:
        self._note(vmid)
        known = self.records.get(self.shelf.provider, self.candidate.name)
        assert known is not None  # noqa: S101 (it was just noted)
        size = restored.size(self._config(vmid))
        update = {"made": known.made or now(), "size": size, "baseline": Baseline()}
        self.records.put(known.model_copy(update=update))

    # Small things.

    def _mark(self, vmid: int, *, cleaned: bool = False) -> Mark:
        provider, one = self.shelf.provider, self.candidate
        return Mark(
            self.shelf.lab,
            one.name,
            provider.storage,
            vmid,
            captured=one.captured,
            cleaned=cleaned,
        )

    def _seed(self, vmid: int) -> str:
        """Its CD. No host's begins like this: no lab and host are called so together."""
        return f"strata-clean.{vmid}.{self.shelf.lab}.iso"

    @property
    def _host(self) -> str:
        return self.candidate.captured.partition("@")[0]

    def _config(self, vmid: int) -> Mapping[str, str]:
        found = self.shelf.api.config(self.shelf.node, vmid)
        if found is None:
            raise DriverError(
                f"Unable to make the template {self.candidate.name}: VM {vmid} is gone.",
                hint="the same command again; it begins anew",
            )
        return {key: str(value) for key, value in found.items()}

    def _put(self, vmid: int, doing: str, **words: Any) -> None:
        path = f"nodes/{self.shelf.node}/qemu/{vmid}/config"
        self.shelf.api.put(path, doing=doing, **words)

    def _power(self, vmid: int) -> str:
        path = f"nodes/{self.shelf.node}/qemu/{vmid}/status/current"
        found = self.shelf.api.get(path, doing=f"see whether VM {vmid} runs")
        return str(found.get("status") or "")

    def _node_time(self) -> float:
        return time.time() + (self.shelf.api.skew or 0.0)

    def _wait(self, upid: object, doing: str, deadline: float) -> None:
        def telling(percent: float) -> None:
            self.report(doing, int(percent * 10), _PERMILLE)

        self.report(doing)
        if upid:
            wait(self.shelf.api, str(upid), doing=doing, deadline=deadline, telling=telling)


def _limit(size: int) -> float:
    return _LEAST + size / _SLOWEST
