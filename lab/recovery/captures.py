"""The captures of a lab: taking them, listing, verifying, dropping what need not be kept.

The repository is the truth. The journal repeats what it holds, so that it can be told without it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, TypeVar

from lab import events, faults
from lab.clients.shell import shells
from lab.config import Inventory
from lab.config.datasets import DISK, data_sets
from lab.engine import Engine
from lab.engine.schedule import each
from lab.errors import ConfigError, DriverError, Problem
from lab.journal import Journal, commit_of, locked
from lab.layer import Workspace
from lab.model.dataset import DataSet
from lab.model.host import Host
from lab.model.keep import Keep
from lab.model.outcome import ExitCode, Outcome, RunReport
from lab.model.recovered import SEEN, CaptureRecord
from lab.model.units import show_size
from lab.recovery import archives, capturing, labset, reach, reading
from lab.recovery.freshness import Freshness, freshness
from lab.recovery.identity import IDENTITY_SET
from lab.recovery.repository import (
    LAB_HOST,
    Capture,
    Listing,
    Repository,
    record_of,
    repository_of,
)
from lab.recovery.retention import disposable
from lab.recovery.run import Part, SetRun

ResultT = TypeVar("ResultT")
JOBS = 4
_UNFINISHED = 86400.0  # somebody else may be at it, from another machine


@dataclass(frozen=True, slots=True)
class CaptureReport:
    """What came of it: the run as any other, and what was taken or read back.

    Attributes:
        notes: ``(host, set)`` to what a person should know of it.
    """

    run: RunReport
    records: tuple[CaptureRecord, ...] = ()
    notes: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    @property
    def verb(self) -> str:
        """The run's."""
        return self.run.verb

    @property
    def exit_code(self) -> ExitCode:
        """FAILED where something was not captured, is flagged, or is damaged."""
        return self.run.exit_code


class Captures:
    """The captures of one loaded lab."""

    def __init__(
        self,
        inventory: Inventory,
        engine: Engine,
        workspace: Workspace,
        journal: Journal,
    ) -> None:
        self._inventory, self._engine = inventory, engine
        self._workspace, self._journal = workspace, journal

    @property
    def repository(self) -> Repository:
        """Where they are kept. Raises ConfigError where ``lab.yaml`` does not say."""
        return repository_of(self._inventory.name, self._inventory.capture, self._workspace)

    @property
    def journal(self) -> Journal:
        """The lab's."""
        return self._journal

    def sets(self, host: Host) -> tuple[DataSet, ...]:
        """What of a host must not be lost; what makes it itself comes last."""
        return (*data_sets(host, self._engine.layers), IDENTITY_SET)

    def listing(self, *, remembered: bool = False) -> Listing:
        """What the repository holds; from then on the journal says the same.

        ``remembered``: for who opens the repository anyway (:meth:`Repository.listing`).
        """
        found = self.repository.listing(remembered=remembered)
        known = {(r.host, r.data, r.snapshot): r for r in self._journal.captures()}
        for capture in found.captures:
            if known.pop((capture.host, capture.data, capture.snapshot), None) is None:
                self._journal.keep_capture(record_of(capture))
        for record in known.values():
            self._journal.forget_capture(record.host, record.snapshot)
        return found

    def prepare(self) -> None:
        """Make the repository where none was used yet."""
        if not self._journal.captures():
            self.repository.prepare()

    def take(
        self,
        hosts: Sequence[Host],
        names: Sequence[str] = (),
        *,
        accept_small: bool = False,
        listen: events.Listener = events.ignore,
        jobs: int | None = None,
    ) -> CaptureReport:
        """Capture the sets of these hosts (with these ``names``; none: all, and the lab's own).

        Every set is tried. Raises Locked and ConfigError; every other failure is in the report.
        """
        wanted = self._wanted(hosts, names)
        busy = [h for h in hosts if wanted[h.name]]
        repository = self.repository
        run = SetRun(self._journal, "capture", busy, listen)
        with self._locked(busy, "capture"), run.told(self._commit()):
            listing = Soon(partial(self._prepared, repository))
            machines = reach.handed_by(self._engine, busy, jobs or JOBS)

            def work(host: Host, failed: tuple[str, ...]) -> None:  # noqa: ARG001 (none waits)
                for one in wanted[host.name]:
                    taking = _Taking(repository, listing, machines, host, one)
                    step = partial(self._take, taking, accept_small=accept_small)
                    run.part(host.name, one.name, step)

            each([replace(h, after=()) for h in busy], work, lambda _: True, jobs or JOBS)
            if not names:
                run.part(LAB_HOST, labset.DATA, partial(self._take_lab, repository, listing))
        return CaptureReport(run.report(), tuple(run.records), run.notes)

    def _take(self, taking: _Taking, part: Part, *, accept_small: bool) -> None:
        host, one, repository = taking.host, taking.one, taking.repository
        endpoint = reach.endpoint_of(taking.machines, host.name)
        known = [r for r in self._journal.captures() if (r.host, r.data) == (host.name, one.name)]
        if not self._journal.captures():
            taking.listing.get()  # makes the repository: this is the first capture ever
        taken = capturing.take(
            repository,
            self._workspace.resource(shells).to(endpoint),
            capturing.Subject(
                host=host.name,
                persona=host.persona,
                endpoint=endpoint,
                image=str(taking.machines.handed[host.name].get("template_name") or ""),
                commit=self._commit() or "",
            ),
            one,
            before=lambda: taking.listing.get().of(host.name, one.name),
            expected=known[0].size if known else None,
            accept_small=accept_small,
            told=part.tell,
        )
        record = record_of(taken.capture, taken.flagged)
        self._journal.keep_capture(record)
        faults.point("capture.after_record")
        part.record, part.notes = record, taken.notes
        some = "1 file, " if record.files == 1 else f"{record.files:,} files, "
        files = some if record.files else ""
        part.applied = (f"captured {files}{show_size(record.size)}",)
        part.outcome = Outcome.CHANGED
        if taken.flagged:
            hint = f"look at it; if it is right: lab capture host={host.name} --accept-small"
            part.flag(f"{one.name} of {host.name} is flagged: {taken.flagged}", hint)
        part.tell("dropping old captures")
        every = taking.listing.get().of(host.name, one.name)
        self._drop(repository, (taken.capture, *every), host.lifecycle.keep)

    def _prepared(self, repository: Repository) -> Listing:
        """What is in the repository, which is made where none was used yet."""
        if not self._journal.captures():
            repository.prepare()
        return self.listing(remembered=True)

    def _take_lab(self, repository: Repository, listing: Soon[Listing], part: Part) -> None:
        """The lab's own; last, so that it holds the record of the others."""
        every = listing.get().of(LAB_HOST, labset.DATA)
        taken = labset.take_lab(
            repository,
            self._workspace,
            self._journal,
            last=next(iter(every), None),
            commit=self._commit() or "",
        )
        part.record = record_of(taken.capture)
        self._journal.keep_capture(part.record)
        part.applied = (f"captured {show_size(part.record.size)}",)
        part.outcome = Outcome.CHANGED
        self._drop(repository, (taken.capture, *every), Keep())

    def _drop(self, repository: Repository, every: Sequence[Capture], keep: Keep) -> None:
        """Of one set: what nothing keeps. Room is made by :meth:`tidy`."""
        gone = disposable(every, keep)
        repository.drop(gone)
        for capture in gone:
            self._journal.forget_capture(capture.host, capture.snapshot)

    def known(self) -> list[CaptureRecord]:
        """What the journal holds, newest first: as of the last listing."""
        return self._journal.captures()

    def freshness(self, hosts: Sequence[Host]) -> tuple[Freshness, ...]:
        """How new the captures of these hosts are: from the journal alone."""
        known, now = self._journal.captures(), time.time()
        return tuple(
            one
            for host in hosts
            for one in freshness(
                host.name, (s.name for s in self.sets(host)), host.lifecycle, known, now
            )
        )

    def verify(
        self,
        hosts: Sequence[Host],
        names: Sequence[str] = (),
        *,
        subset: str = "",
        listen: events.Listener = events.ignore,
    ) -> CaptureReport:
        """Read the newest good capture of every set back whole, and compare each file.

        With ``subset`` (``"5%"``) the repository itself is checked, too. Every set is tried.
        """
        repository = self.repository
        run = SetRun(self._journal, "verify captures", hosts, listen)
        with run.told(self._commit()):
            listing = self.listing()
            wanted = self._wanted(
                hosts, names, {c.host for c in listing.captures if c.data == DISK}
            )
            if subset:
                repository.restic.check(subset)
            for host in hosts:
                for one in wanted[host.name]:
                    step = partial(self._verify, repository, listing, host, one)
                    run.part(host.name, one.name, step)
        return CaptureReport(run.report(), tuple(run.records), run.notes)

    def _verify(
        self, repository: Repository, listing: Listing, host: Host, one: DataSet, part: Part
    ) -> None:
        newest = next(iter(listing.of(host.name, one.name, good=True)), None)
        if newest is None:
            hint = f"lab capture host={host.name} data={one.name}"
            part.flag(f"{one.name} of {host.name} has no good capture", hint)
            return
        if archives.is_archived(newest):
            self._inspect(repository, newest, host, part)
            return
        reading.verified(repository, newest, lambda done, total: part.tell("reading", done, total))
        known = next((r for r in self._journal.captures() if r.snapshot == newest.snapshot), None)
        record = replace(known or record_of(newest), verified=time.time())
        self._journal.keep_capture(record)
        part.record = record
        part.applied = (f"read {show_size(newest.size)}",)

    def _inspect(self, repository: Repository, newest: Capture, host: Host, part: Part) -> None:
        """A boot disk that stays at its provider: what can be said of it without reading it."""
        part.tell("looking for it")
        keeper = archives.keeper_of(self._engine, self._workspace, host, part.tell)
        state = archives.inspected(repository, newest, keeper)
        known = next((r for r in self._journal.captures() if r.snapshot == newest.snapshot), None)
        record = known or record_of(newest)
        if state.read is not None:
            record = replace(record, verified=state.read)
            self._journal.keep_capture(record)
        part.record = record
        part.applied = (f"{SEEN}, {show_size(newest.size)}",)
        part.notes = (f"{state.told}; its content cannot be read from here",)

    def tidy(self, hosts: Sequence[Host]) -> tuple[CaptureRecord, ...]:
        """Drop what the hosts' ``keep`` does not keep, and what never was finished; make room."""
        repository = self.repository
        with self._locked(hosts, "forget captures of"):
            listing = self.listing()
            gone: list[Capture] = []
            stuck: list[str] = []
            for host in hosts:
                for name in sorted({c.data for c in listing.of(host.name)} - {DISK}):
                    gone += disposable(listing.of(host.name, name), host.lifecycle.keep)
                dropped = self._tidy_disks(repository, listing, host)
                gone += dropped.captures
                stuck += dropped.stuck
            now = time.time()
            left = [s.id for s in listing.unfinished if abs(now - s.at) > _UNFINISHED]
            repository.restic.forget(left)
            repository.drop(c for c in gone if c.data != DISK)
            repository.restic.prune()
        for capture in gone:
            self._journal.forget_capture(capture.host, capture.snapshot)
        if stuck:
            raise DriverError(
                f"Unable to remove all that is to go: {stuck[0]}.",
                hint="lab captures list   (the rest is done)",
                lines=stuck[1:],
            )
        return tuple(record_of(c) for c in gone)

    def _tidy_disks(self, repository: Repository, listing: Listing, host: Host) -> archives.Dropped:
        every = listing.of(host.name, DISK)
        keeper = archives.keeper_of(self._engine, self._workspace, host) if every else None
        gone = disposable(every, host.lifecycle.keep)
        return archives.drop(repository, self._journal, keeper, gone, every)

    def _wanted(
        self, hosts: Sequence[Host], names: Iterable[str], disks: Collection[str] = ()
    ) -> dict[str, tuple[DataSet, ...]]:
        """The sets of each host that were asked for; of those in ``disks`` also the boot disk."""
        chosen = tuple(names)
        disk = (DataSet(DISK),)
        every = {h.name: self.sets(h) + (disk if h.name in disks else ()) for h in hosts}
        known = {one.name for sets in every.values() for one in sets}
        unknown = [name for name in chosen if name not in known]
        if unknown:
            there = ", ".join(sorted(known)) or "none"
            text = f"no set of data is called {unknown[0]!r} there (known: {there})"
            raise ConfigError([Problem("", text)])
        if not chosen:
            return every
        return {h: tuple(o for o in sets if o.name in chosen) for h, sets in every.items()}

    def _commit(self) -> str | None:
        return self._inventory.commit or commit_of(self._inventory.root)

    @contextmanager
    def _locked(self, hosts: Sequence[Host], verb: str) -> Iterator[None]:
        state = self._workspace.state
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(state / "locks", [h.name for h in hosts], verb):
            yield


class Soon(Generic[ResultT]):
    """Something that takes a while, begun at once; who asks for it waits, or gets its error."""

    def __init__(self, make: Callable[[], ResultT]) -> None:
        self._future: Future[ResultT] = Future()
        threading.Thread(target=self._work, args=(make,), daemon=True).start()

    def _work(self, make: Callable[[], ResultT]) -> None:
        try:
            self._future.set_result(make())
        except BaseException as error:  # noqa: BLE001 (raised where it is asked for)
            self._future.set_exception(error)

    def get(self) -> ResultT:
        """It."""
        return self._future.result()


@dataclass(frozen=True, slots=True)
class _Taking:
    """One set of one host in one run."""

    repository: Repository
    listing: Soon[Listing]
    machines: RunReport
    host: Host
    one: DataSet


__all__ = ["CaptureReport", "Captures"]
