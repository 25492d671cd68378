"""The run as plain lines, for logs and pipes: what changes, what ends, and a sign of life."""

from __future__ import annotations

from collections.abc import Iterator

from lab import events
from lab.cli.text.look import ASCII, Signs, clean_lines, plural, show_seconds
from lab.cli.text.rows import BYTES, WAITS, outcome_text
from lab.model.outcome import PartReport
from lab.model.units import show_size

PROGRESS_EVERY = 10.0
"""Seconds between two lines about the same part's progress."""

MANY = 20
"""With more hosts than this, a part that changed nothing is not worth a line."""


class Plain:
    """Turns events into lines. Knows no clock: the events bring the time."""

    def __init__(self, signs: Signs = ASCII) -> None:
        self._signs = signs
        self._verb = ""
        self._many = False
        self._told: dict[tuple[str, str, str], float] = {}

    def lines(self, event: events.Event) -> Iterator[str]:
        """The lines that this event is worth, usually none."""
        match event:
            case events.RunStarted():
                self._verb = event.verb
                self._many = len(event.hosts) > MANY
                if event.verb not in {"plan", "verify"}:
                    yield f"{event.verb}: {plural(len(event.hosts), 'host')}"
            case events.LockAwaited():
                yield from self._wait(event)
            case events.PartStarted():
                self._told[event.host, event.layer, event.part] = event.at
            case events.ChangeStarted():
                self._told[event.host, event.layer, event.part] = event.at
                step = f" ({event.index}/{event.count})" if event.count > 1 else ""
                change = event.change
                yield f"{_name(event)}: {change.action.sign} {_first(change.what)}{step}"
            case events.Progress():
                yield from self._progress(event)
            case events.PartEnded():
                yield from self._end(event.report)
            case events.Notice():
                who = " ".join(w for w in (event.host, event.layer) if w)
                yield f"{who}: {_first(event.text)}" if who else _first(event.text)
            case _:
                pass

    def _progress(self, event: events.Progress) -> Iterator[str]:
        key = (event.host, event.layer, event.part)
        if event.at - self._told.setdefault(key, event.at) < PROGRESS_EVERY:
            return
        self._told[key] = event.at
        yield f"{_name(event)}: {_first(event.doing)}{self._signs.more}{_counts(event)}"

    def _wait(self, event: events.LockAwaited) -> Iterator[str]:
        key = (event.holder, "", "")
        if event.at - self._told.get(key, -PROGRESS_EVERY) >= PROGRESS_EVERY:
            self._told[key] = event.at
            yield f"waits for {_first(event.holder)} ({show_seconds(event.seconds)})"

    def _end(self, report: PartReport) -> Iterator[str]:
        self._told.pop((report.host, report.layer, report.part), None)
        looking = self._verb in {"plan", "verify"}
        if report.outcome.is_good and (looking or self._many) and not report.applied:
            return
        if report.failure is not None and report.failure.kind == WAITS:
            return
        name = _words(report.host, report.layer, report.part, report.driver)
        yield f"{name}: {outcome_text(report, self._verb)}, {show_seconds(report.seconds)}"


def _name(event: events.Progress | events.ChangeStarted) -> str:
    return _words(event.host, event.layer, event.part)


def _words(*words: str) -> str:
    return " ".join(_first(w) for w in words if w)


def _first(text: str) -> str:
    return clean_lines(text)[0]


def _counts(event: events.Progress) -> str:
    if event.done is None:
        return ""
    biggest = event.total if event.total is not None else event.done
    shown = show_size if biggest >= BYTES else str
    total = f"/{shown(event.total)}" if event.total else ""
    return f" {shown(event.done)}{total}"
