"""A copy of a machine's boot disk: whole by itself, and the machine runs on as before.

In the machine's folder, while it goes on:

.capture/           the copy on its way; gone afterwards, and cleared by the next call
.stopped            the machine was shut down for it, and is to be started again; says how it ended
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.clients.process import run
from lab.errors import DriverError, LabError, TransportError
from lab.faults import point
from lab.model.template import BootDisk
from lab.model.units import show_size
from layers.l2_instantiate.drivers.qemu import images, process
from layers.l2_instantiate.drivers.qemu.folder import Folder
from layers.l2_instantiate.drivers.qemu.power import Patience, Power
from layers.l2_instantiate.drivers.qemu.process import Process
from layers.l2_instantiate.machines import ROOT
from layers.l2_instantiate.wanted import Machine

_IN_ORDER = "in order"
_JOB = "strata-capture"
_COPY = 3600.0
_TICK = 0.3


@contextlib.contextmanager
def boot_disk(
    target: Machine, folder: Folder, patience: Patience, *, live: bool
) -> Iterator[BootDisk]:
    """The copy; see :class:`lab.abilities.Imaging`."""
    record = folder.require()
    place = folder.home / ".capture"
    running = process.find(folder, record)
    if running is not None:
        _cancel(running, folder.host)  # of a call that was killed
    shutil.rmtree(place, ignore_errors=True)
    _check_room(folder)
    place.mkdir(mode=0o700)
    try:
        if live and running is not None:
            how = "running: as after a power cut"
            yield BootDisk(_live(target, running, folder, place), quiesced=False, how=how)
        else:
            yield _Still(target, folder, patience).copied(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


class _Still:
    """A machine that stands still while its disk is copied."""

    def __init__(self, target: Machine, folder: Folder, patience: Patience) -> None:
        self._target, self._folder, self._patience = target, folder, patience
        self._mark = folder.home / ".stopped"

    def copied(self, place: Path) -> BootDisk:
        """Shut down, copy what differs from the template, start again, then make it whole."""
        folder, copy = self._folder, place / "overlay.qcow2"
        runs = process.find(folder, folder.require()) is not None
        resumed = not runs and self._mark.exists()
        trouble: LabError | None = None
        try:
            if runs:
                self._stop()
            self._target.report("copying the boot disk")
            self._run(
                ["cp", "--reflink=auto", "--sparse=always", folder.root, copy],
                f"copy the boot disk of {folder.host}",
            )
            in_order = (runs or resumed) and self._mark.read_text() == _IN_ORDER
        except BaseException:
            if runs or resumed:
                self._start()
            raise
        if runs or resumed:
            try:
                self._start()
            except LabError as error:  # the copy is good: it is told when that is kept
                trouble = error
        point("l2.disk.started")
        how = "shut down in order" if in_order else "off, as it was left"
        if (runs or resumed) and not in_order:
            how = "not shut down in order: as after a power cut"
        return BootDisk(self._whole(copy, place), quiesced=in_order, how=how, trouble=trouble)

    def _stop(self) -> None:
        self._mark.write_text("")
        point("l2.disk.before_stop")
        in_order = Power(self._target, self._folder, self._patience).stop()
        self._mark.write_text(_IN_ORDER if in_order else "")
        point("l2.disk.stopped")

    def _start(self) -> None:
        """Also where the user asked to stop meanwhile: it ran before, so it runs again."""
        calm = replace(self._folder.workspace, cancelled=threading.Event())
        folder = replace(self._folder, workspace=calm)
        self._target.report("starting it again")
        Power(self._target, folder, self._patience).start()
        self._mark.unlink(missing_ok=True)

    def _whole(self, copy: Path, place: Path) -> Path:
        """Of the copy and its template one file that refers to no other, seen to be the same."""
        whole = place / "disk.qcow2"
        doing = f"make the copy of the boot disk of {self._folder.host} whole"
        self._target.report("making the copy whole")
        self._run(["qemu-img", "convert", "-O", "qcow2", copy, whole], doing)
        self._target.report("comparing the copy")
        self._run(["qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", copy, whole], doing)
        copy.unlink()
        return whole

    def _run(self, argv: list[str | Path], doing: str) -> None:
        run(argv, doing=doing, deadline=_COPY, cancelled=self._folder.workspace.cancelled)


def _live(target: Machine, found: Process, folder: Folder, place: Path) -> Path:
    """What the disk held at one moment, copied by QEMU itself while the machine runs."""
    host, whole = folder.host, place / "disk.qcow2"
    with found.monitor(host) as monitor:
        monitor.execute(
            "drive-backup",
            **{"job-id": _JOB, "device": ROOT, "target": str(whole), "format": "qcow2"},
            **{"sync": "full", "auto-dismiss": False},
        )
    try:
        while (job := _job(found, host)) is not None and job["status"] != "concluded":
            target.report("copying the boot disk", job["current-progress"], job["total-progress"])
            folder.workspace.check()
            folder.workspace.cancelled.wait(_TICK)
        if job is None or job.get("error"):
            why = "QEMU ended" if job is None else str(job["error"]).rstrip(".")
            raise DriverError(
                f"Unable to copy the boot disk of {host}: {why}.", hint=f"df -h {folder.home}"
            )
    finally:
        _cancel(found, host)
    return whole


def _job(found: Process, host: str) -> dict[str, Any] | None:
    """The copying job of QEMU; ``None``: there is none."""
    with found.monitor(host) as monitor:
        jobs: list[dict[str, Any]] = monitor.execute("query-jobs")
    return next((job for job in jobs if job["id"] == _JOB), None)


def _cancel(found: Process, host: str) -> None:
    """End the copying job, and let QEMU forget it."""
    with contextlib.suppress(TransportError, DriverError):
        while (job := _job(found, host)) is not None:
            command = "job-dismiss" if job["status"] == "concluded" else "job-cancel"
            with found.monitor(host) as monitor, contextlib.suppress(DriverError):
                monitor.execute(command, id=_JOB)
            time.sleep(_TICK / 10)


def _check_room(folder: Folder) -> None:
    """The copy may take as much as the disk and its template do now, twice for a moment."""
    header = images.read_header(folder.root)
    if header is None:
        raise DriverError(
            f"Unable to copy the boot disk of {folder.host}: {folder.root} is not a disk.",
            hint=f"lab plan host={folder.host}",
        )
    below = images.used(Path(header.backing)) if header.backing else 0
    needed = 2 * images.used(folder.root) + below
    free = shutil.disk_usage(folder.home).free
    if free < needed:
        raise DriverError(
            f"Unable to copy the boot disk of {folder.host}: {show_size(needed)} of free space are"
            f" needed in {folder.home}, there are {show_size(free)}.",
            hint=f"df -h {folder.home}",
        )
