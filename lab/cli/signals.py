"""Ctrl-C and SIGTERM: the first asks the run to stop, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

MESSAGE = "stopping after the current step… (again to stop at once)"
SHOW_CURSOR = "\x1b[?25h"


class Stop:
    """What the two signals do while something runs; outside of it they raise KeyboardInterrupt."""

    def __init__(self, cancel: Callable[[], None], say: Callable[[str], None]) -> None:
        self._cancel = cancel
        self._say = say
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  (signal's)
        """The signal handler itself."""
        if self.asked:
            leave_at_once()
        self.asked = True
        self._cancel()
        self._say(MESSAGE)


def leave_at_once() -> None:
    """End without waiting for any thread; the terminal gets its cursor back."""
    if sys.stderr.isatty():
        os.write(2, f"{SHOW_CURSOR}\n".encode())
    os._exit(130)


@contextmanager
def stoppable(cancel: Callable[[], None], say: Callable[[str], None]) -> Iterator[Stop]:
    """While inside, SIGINT and SIGTERM ask to stop; afterwards they do what they did before."""
    stop = Stop(cancel, say)
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield stop
    finally:
        for number, action in before.items():
            signal.signal(number, action)
