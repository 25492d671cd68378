"""What becomes known of a part while it is worked on, kept also when it fails half-way."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Lock

from lab import events, faults
from lab.engine.approval import Key
from lab.engine.protocol import Run
from lab.errors import LabError
from lab.model.outcome import Failure, Outcome
from lab.model.plan import Change, Plan


@dataclass(slots=True)
class Seen:
    """What is known of a part so far, also when it fails half-way."""

    plan: Plan = field(default_factory=Plan)
    applied: list[str] = field(default_factory=list)
    outcome: Outcome = Outcome.UNCHANGED
    failure: Failure | None = None
    refused: bool = False

    def block(self, plan: Plan) -> None:
        """The plan has blockers: nothing is applied."""
        first = plan.blockers[0]
        self.outcome = Outcome.BLOCKED
        self.failure = Failure("Blocked", f"{first.what}: {first.why}", first.hint)


class Recorder:
    """Journal and events of the changes of one part; one that was started always ends."""

    def __init__(self, run: Run, key: Key, seen: Seen) -> None:
        self._run, self._key, self._seen = run, key, seen
        self._open: dict[str, tuple[Change, int, float]] = {}
        self._lock = Lock()

    def start(self, change: Change) -> None:
        """A change begins."""
        changes = self._seen.plan.changes
        index = next((i for i, c in enumerate(changes, 1) if c is change), 0)
        number = self._run.begin_change(self._key, change)
        with self._lock:
            self._open[change.what] = (change, number, time.monotonic())
        faults.point(f"engine.{self._key[1]}.before_apply")
        self._run.emit(events.ChangeStarted(time.time(), *self._key, change, index, len(changes)))

    def end(self, change: Change) -> None:
        """It was carried out."""
        faults.point(f"engine.{self._key[1]}.after_apply")
        self._seen.applied.append(f"{change.action.value} {change.what}")
        self._close(change.what, ok=True)

    def close(self) -> None:
        """Whatever is still open has failed."""
        for what in list(self._open):
            self._close(what, ok=False)

    def _close(self, what: str, *, ok: bool) -> None:
        with self._lock:
            change, number, since = self._open.pop(what)
        seconds = time.monotonic() - since
        self._run.end_change(number, ok=ok, seconds=seconds)
        self._run.emit(events.ChangeEnded(time.time(), *self._key, change, ok, seconds))


def failure_of(error: LabError) -> Failure:
    """The error as a value that can be kept and shown."""
    return Failure(
        kind=type(error).__name__,
        message=error.message,
        hint=error.hint,
        command=getattr(error, "command", ""),
        status=getattr(error, "status", None),
        lines=tuple(getattr(error, "lines", ())),
    )
