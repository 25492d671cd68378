"""Waiting for a host that another run holds: telling who, until it is free or somebody gives up."""

from __future__ import annotations

import time

from lab import events
from lab.engine.protocol import Run
from lab.errors import Locked
from lab.journal import Waiting

EVERY = 5.0
"""Seconds between two events of one wait; a new holder is told at once."""
_TRY = 0.1


def waiting_for(run: Run) -> Waiting:
    """Tells the run's listener and pauses. Raises Interrupted when the run is cancelled."""
    told: tuple[str, float] = ("", -EVERY)

    def wait(busy: Locked, seconds: float) -> None:
        nonlocal told
        if busy.message != told[0] or seconds - told[1] >= EVERY:
            told = (busy.message, seconds)
            run.emit(events.LockAwaited(time.time(), busy.holder, seconds))
        run.workspace.cancelled.wait(_TRY)
        run.workspace.check()

    return wait
