"""One run of a verb over sets of data: events as it goes, a report at its end."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from lab import events
from lab.engine.record import failure_of
from lab.errors import Interrupted, LabError, PlanError, TransportError
from lab.journal import Journal
from lab.model.host import Host
from lab.model.outcome import Failure, Outcome, PartReport, RunReport
from lab.model.recovered import CaptureRecord

LAYER = "capture"
"""What stands in the place of a layer in the events and reports of these verbs."""
DRIVER = "restic"
FLAGGED = "Flagged"
"""The kind of a failure that is a capture nobody should rely on."""
_TOLD_EVERY = 0.2


class SetRun:
    """A run of ``capture`` or ``verify``. Safe to use from several threads."""

    def __init__(
        self, journal: Journal, verb: str, hosts: Sequence[Host], listen: events.Listener
    ) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self.id = f"{stamp}-{uuid.uuid4().hex[:6]}"
        self.verb = verb
        self._journal = journal
        self._hosts = tuple(h.name for h in hosts)
        self._listen = listen
        self._lock = threading.Lock()
        self._parts: list[PartReport] = []
        self.records: list[CaptureRecord] = []
        self.notes: dict[tuple[str, str], tuple[str, ...]] = {}
        self._bug: Exception | None = None
        self._since = time.monotonic()

    @contextmanager
    def told(self, commit: str | None) -> Iterator[None]:
        """From its first event to its last; in the journal, too. Raises a bug when all is told."""
        self._journal.begin_run(self.id, self.verb, self._hosts, commit)
        self.emit(events.RunStarted(time.time(), self.id, self.verb, self._hosts, (LAYER,)))
        try:
            yield
        finally:
            report = self.report()
            self._journal.end_run(self.id, report.exit_code)
            self.emit(events.RunEnded(time.time(), report))
        if self._bug is not None:
            raise self._bug

    def emit(self, event: events.Event) -> None:
        """Tell the listener, one thread at a time."""
        with self._lock:
            self._listen(event)

    def part(self, host: str, name: str, work: Callable[[Part], None]) -> None:
        """Do one set of one host. The one place where its exception becomes a result."""
        part = Part(self, host, name)
        self.emit(events.PartStarted(time.time(), host, LAYER, name, DRIVER))
        try:
            work(part)
        except LabError as error:
            part.failure = failure_of(error)
            part.outcome = _outcome(error)
        except Exception as error:  # noqa: BLE001 (recorded here, raised again when all is told)
            self._bug = self._bug or error
            part.failure = Failure("Bug", f"{type(error).__name__}: {error}")
            part.outcome = Outcome.FAILED
        report = part.report()
        with self._lock:
            self._parts.append(report)
            self.records += [part.record] if part.record is not None else []
            if part.notes:
                self.notes[host, name] = part.notes
        self.emit(events.PartEnded(time.time(), report))

    def report(self) -> RunReport:
        """Everything, host by host in the order they were given."""
        with self._lock:
            order = {name: n for n, name in enumerate(self._hosts)}
            parts = sorted(self._parts, key=lambda p: (order.get(p.host, -1), p.part))
        return RunReport(self.verb, self.id, tuple(parts), {}, time.monotonic() - self._since)


class Part:
    """One set of one host, while it is worked on."""

    def __init__(self, run: SetRun, host: str, name: str) -> None:
        self._run, self._host, self._name = run, host, name
        self._since = self._doing_since = time.monotonic()
        self._told, self._doing, self._before = 0.0, "", 0
        self.outcome = Outcome.UNCHANGED
        self.applied: tuple[str, ...] = ()
        self.failure: Failure | None = None
        self.record: CaptureRecord | None = None
        self.notes: tuple[str, ...] = ()

    def tell(self, doing: str, done: int | None = None, total: int | None = None) -> None:
        """What it does now; of many calls a few a second are passed on, with the time left."""
        now = time.monotonic()
        if done and now - self._told < _TOLD_EVERY:
            return
        self._told = now
        if doing != self._doing:  # what came before says nothing about this one's speed
            self._doing, self._doing_since, self._before = doing, now, done or 0
        went, since = (done or 0) - self._before, now - self._doing_since
        if went > 0 and total and since > 1:
            left = (total - self._before - went) * since / went
            doing = f"{_shown(left)} left, {doing}"  # a narrow terminal shows the beginning
        self._run.emit(
            events.Progress(time.time(), self._host, LAYER, self._name, doing, done, total)
        )

    def flag(self, why: str, hint: str) -> None:
        """It was kept, and is no success."""
        self.outcome = Outcome.FAILED
        self.failure = Failure(FLAGGED, why, hint)

    def report(self) -> PartReport:
        """How it ended."""
        return PartReport(
            host=self._host,
            layer=LAYER,
            part=self._name,
            driver=DRIVER,
            outcome=self.outcome,
            applied=self.applied,
            failure=self.failure,
            seconds=time.monotonic() - self._since,
        )


def _outcome(error: LabError) -> Outcome:
    if isinstance(error, Interrupted):
        return Outcome.INTERRUPTED
    if isinstance(error, TransportError):
        return Outcome.UNREACHABLE
    return Outcome.BLOCKED if isinstance(error, PlanError) else Outcome.FAILED


def _shown(seconds: float) -> str:
    """``"8 s"``, ``"3 min"``, ``"2 h"``."""
    if seconds < 90:  # noqa: PLR2004 (seconds that are still told as such)
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"  # noqa: PLR2004


__all__ = ["DRIVER", "FLAGGED", "LAYER", "Part", "SetRun"]
