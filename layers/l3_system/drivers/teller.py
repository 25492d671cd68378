"""Tells the engine of changes while another tool carries them out in its own order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lab.model.plan import Change


class Teller:
    """Tells of planned changes as their tasks come by; of those that did not, at the end."""

    def __init__(
        self,
        changes: Sequence[Change],
        started: Callable[[Change], None],
        done: Callable[[Change], None],
    ) -> None:
        self._waiting = {change.what: change for change in changes}
        self._running: dict[str, Change] = {}
        self._tell_started, self._tell_done = started, done

    def started(self, name: str) -> None:
        """A task of that name begins."""
        change = self._waiting.pop(name, None)
        if change is not None:
            self._running[name] = change
            self._tell_started(change)

    def done(self, name: str) -> None:
        """It is done."""
        change = self._running.pop(name, None)
        if change is not None:
            self._tell_done(change)

    def rest(self) -> None:
        """The run was good: what had no task of its own is done with it."""
        for change in self._running.values():
            self._tell_done(change)
        for change in self._waiting.values():
            self._tell_started(change)
            self._tell_done(change)
