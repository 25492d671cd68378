"""Capturing boot disks: what a layer's driver can copy, stored as one image with a manifest.

Where a provider hands no disk out, the image stays there, and the manifest says where.

A disk is captured host by host, so that no two machines stand still at once. It is a set of data
like others, called ``disk``: listed, kept and verified as they are, but never taken by itself.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lab import events, faults
from lab.abilities import Archiving, Imaging
from lab.clients import restic
from lab.clients.shell import shells
from lab.config.datasets import DISK
from lab.engine import Engine
from lab.errors import DriverError, PlanError, TransportError
from lab.journal import Journal, commit_of, locked
from lab.layer import Layer, Target, Workspace
from lab.model.host import Host
from lab.model.outcome import Outcome, RunReport
from lab.model.template import BootDisk
from lab.model.units import show_size
from lab.recovery import archives, reach
from lab.recovery.captures import CaptureReport, Captures
from lab.recovery.manifest import IMAGE, Manifest, Stream, merkle_root
from lab.recovery.repository import Capture, Repository, new_id, record_of
from lab.recovery.retention import disposable
from lab.recovery.run import Part, SetRun

UNITS, HOW = "units", "how"
"""Of a disk's manifest: what ``systemctl list-unit-files`` said, and how the disk was read."""
_PIECE = 1 << 20
_LOOK = "systemctl list-unit-files --no-legend --no-pager --full 2>/dev/null; sync"


@dataclass(frozen=True)
class _Machine:
    """The machine of a host, and who can copy its disk."""

    host: Host
    driver: Imaging | Archiving
    target: Target[Any, Any]
    image: str


class Disks:
    """The captured boot disks of one loaded lab."""

    def __init__(
        self, captures: Captures, engine: Engine, workspace: Workspace, journal: Journal
    ) -> None:
        self._captures, self._engine = captures, engine
        self._workspace, self._journal = workspace, journal

    def take(
        self, hosts: Sequence[Host], *, live: bool = False, listen: events.Listener = events.ignore
    ) -> CaptureReport:
        """Capture the boot disk of each host, one after the other.

        Each machine is shut down in order and started again at once, whatever happens; with
        ``live`` it runs on, and the copy is as after a power cut. Raises Locked and ConfigError;
        every other failure is in the report.
        """
        repository = self._captures.repository
        run = SetRun(self._journal, "capture", hosts, listen)
        state, names = self._workspace.state, [h.name for h in hosts]
        with locked(state / "locks", names, "capture"), run.told(self._commit()):
            self._captures.prepare()
            machines = reach.handed_by(self._engine, hosts, len(hosts) or 1)
            for host in hosts:
                step = partial(self._take, repository, machines, host, live=live)
                run.part(host.name, DISK, step)
        return CaptureReport(run.report(), tuple(run.records), run.notes)

    def _take(
        self, repository: Repository, machines: RunReport, host: Host, part: Part, *, live: bool
    ) -> None:
        machine = self._machine(host, machines.handed.get(host.name, {}), part)
        every = self._captures.listing().of(host.name, DISK)
        units = self._units(machines, host, part)
        manifest = Manifest(
            lab=repository.lab,
            host=host.name,
            persona=host.persona,
            data=DISK,
            id=new_id(),
            at=time.time(),
            number=max((c.number for c in every), default=0) + 1,
            image=machine.image,
            commit=self._commit() or "",
            tools={"restic": ".".join(map(str, restic.version() or ()))},
            facts={UNITS: units},
        )
        if isinstance(machine.driver, Archiving):
            self._archive(repository, machine, machine.driver, manifest, every, part, live=live)
            return
        with machine.driver.boot_disk(machine.target, live=live) as disk:
            faults.point("capture.disk.copied")
            units = units or self._units(machines, host, part)  # it may run now
            capture = _stored(repository, manifest, disk, units, part)
        faults.point("capture.disk.stored")
        self._keep(capture, part, disk.how, quiesced=disk.quiesced)
        part.tell("dropping old captures")
        self._drop(repository, machine, (capture, *every), part)
        if disk.trouble is not None:
            raise disk.trouble

    def _archive(
        self,
        repository: Repository,
        machine: _Machine,
        driver: Archiving,
        manifest: Manifest,
        every: Sequence[Capture],
        part: Part,
        *,
        live: bool,
    ) -> None:
        """The image stays where its provider keeps such; its capture says where."""
        known, begun = frozenset(c.id for c in every), time.monotonic()
        with driver.archive(machine.target, manifest.id, known, live=live) as archived:
            took = round(time.monotonic() - begun, 3)
            facts = {**manifest.facts, HOW: archived.how}
            capture = archives.conclude(
                repository, replace(manifest, seconds=took, facts=facts), archived
            )
            faults.point("capture.disk.stored")
        self._keep(capture, part, archived.how, quiesced=archived.quiesced)
        where = f"{archived.archive.volume} of {archived.archive.node}"
        part.notes = (*part.notes, f"its image is {where}; only where it lies is kept here")
        part.tell("dropping old captures")
        self._drop(repository, machine, (capture, *every), part)
        if archived.trouble is not None:
            raise archived.trouble

    def _keep(self, capture: Capture, part: Part, how: str, *, quiesced: bool) -> None:
        part.record = record_of(capture)
        self._journal.keep_capture(part.record)
        part.applied = (f"captured {show_size(capture.size)}, {how}",)
        part.outcome = Outcome.CHANGED
        if not quiesced:
            part.notes = (f"its filesystem is not settled ({how})",)

    def _drop(
        self, repository: Repository, machine: _Machine, every: Sequence[Capture], part: Part
    ) -> None:
        gone = disposable(every, machine.host.lifecycle.keep)
        keeper = None
        if isinstance(machine.driver, Archiving):
            keeper = archives.Keeper(machine.driver, machine.target)
        dropped = archives.drop(repository, self._journal, keeper, gone, every)
        part.notes = (*part.notes, *dropped.stuck)

    def _machine(self, host: Host, handed: Mapping[str, Any], part: Part) -> _Machine:
        """Raises PlanError where its machine's disk cannot be copied."""
        layer: Layer = self._engine.layers[reach.machine_layer(self._engine.layers)]
        for one in host.parts.get(layer.name, ()):
            driver: object = layer.drivers[one.driver](self._workspace)
            if not isinstance(driver, (Imaging, Archiving)):
                kind = self._engine.inventory.providers.get(host.provider) or one.driver
                raise PlanError(
                    f"Unable to capture the boot disk of {host.name}: machines of kind"
                    f" {kind} do not hand theirs out.",
                    hint=f"lab capture host={host.name}   (its data and its identity)",
                )
            target: Target[Any, Any] = Target(
                host=host,
                spec=one.spec,
                inputs=layer.inputs.model_validate(handed),
                name=one.name,
                report=part.tell,
            )
            return _Machine(host, driver, target, str(handed.get("template_name") or ""))
        raise PlanError(f"Unable to capture the boot disk of {host.name}: it has no machine.")

    def _units(self, machines: RunReport, host: Host, part: Part) -> str:
        """What only the running machine says of itself; ``""`` where it is off."""
        part.tell("looking")
        with suppress(TransportError):
            shell = self._workspace.resource(shells).to(reach.endpoint_of(machines, host.name))
            reply = shell.run(_LOOK, doing=f"look at {host.name}", deadline=120.0)
            shell.hang_up()  # it is about to be shut down
            return reply.text
        return ""

    def _commit(self) -> str | None:
        inventory = self._engine.inventory
        return inventory.commit or commit_of(inventory.root)


def _stored(
    repository: Repository, manifest: Manifest, disk: BootDisk, units: str, part: Part
) -> Capture:
    """The image into the repository, its manifest last."""
    begun, whole = time.monotonic(), hashlib.sha256()
    total, done = disk.path.stat().st_size, 0
    with (
        disk.path.open("rb") as file,
        repository.restic.writing(repository.label(manifest, IMAGE)) as out,
    ):
        while piece := file.read(_PIECE):
            out.write(piece)
            whole.update(piece)
            done += len(piece)
            part.tell("storing the boot disk", done, total)
        stored = out.finish()
    if stored.size != total:
        raise DriverError(
            f"Unable to capture the boot disk of {manifest.host}: {total} bytes went in, the"
            f" repository says {stored.size}.",
            hint="the same command again",
        )
    digest = whole.hexdigest()
    return repository.conclude(
        replace(
            manifest,
            quiesced=disk.quiesced,
            seconds=round(time.monotonic() - begun, 3),
            size=total,
            root=merkle_root((), digest),
            streams=(Stream(IMAGE, stored.snapshot, total, digest),),
            facts={UNITS: units, HOW: disk.how},
        )
    )


__all__ = ["HOW", "UNITS", "Disks"]
