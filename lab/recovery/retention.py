"""Which captures may go: pure, and never by the clock alone.

Captures carry numbers that only grow, so a clock that was wrong for a while cannot make the newest
one look old: what is newest is what has the highest number. The newest good one always stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from lab.model.keep import Keep
from lab.recovery.repository import Capture


def disposable(captures: Sequence[Capture], keep: Keep) -> list[Capture]:
    """Of the captures of one set of data: those that nothing keeps, oldest first."""
    newest_first = sorted(captures, key=lambda c: (c.number, c.at), reverse=True)
    good = [c for c in newest_first if not c.flagged]
    kept = {c.id for c in good[: max(keep.last, 1)]}
    for count, period in (
        (keep.daily, _day),
        (keep.weekly, _week),
        (keep.monthly, _month),
        (keep.yearly, _year),
    ):
        kept |= _first_of_each(good, count, period)
    kept |= {c.id for c in newest_first[: keep.last] if c.flagged}  # somebody may want to look
    return [c for c in reversed(newest_first) if c.id not in kept]


def _first_of_each(
    good: Sequence[Capture], count: int, period: Callable[[datetime], tuple[int, ...]]
) -> set[str]:
    found: dict[tuple[int, ...], str] = {}
    for capture in good:
        if len(found) == count:
            break
        found.setdefault(period(_when(capture.at)), capture.id)
    return set(found.values())


def _when(at: float) -> datetime:
    try:
        return datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _day(when: datetime) -> tuple[int, ...]:
    return when.year, when.month, when.day


def _week(when: datetime) -> tuple[int, ...]:
    return when.isocalendar()[:2]


def _month(when: datetime) -> tuple[int, ...]:
    return when.year, when.month


def _year(when: datetime) -> tuple[int, ...]:
    return (when.year,)
