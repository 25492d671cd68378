"""Whether the captures of every host are as new as its persona wants them: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.model.declared import Lifecycle
from lab.model.recovered import CaptureRecord


@dataclass(frozen=True, slots=True)
class Freshness:
    """One set of data of one host.

    Attributes:
        last: The newest good capture, ``None``: there is none.
        flagged: A newer one that nobody should rely on.
        allowed: Seconds that the newest good one may be old; ``None``: no matter.
        stale: Why it is behind; ``""``: it is not.
    """

    host: str
    data: str
    last: CaptureRecord | None
    flagged: CaptureRecord | None
    allowed: float | None
    stale: str


def freshness(
    host: str,
    names: Iterable[str],
    lifecycle: Lifecycle,
    known: Sequence[CaptureRecord],
    now: float,
) -> tuple[Freshness, ...]:
    """How every one of these sets stands; ``known`` holds captures of any host, newest first."""
    mine = [r for r in known if r.host == host]
    allowed = lifecycle.oldest_capture
    found = []
    for name in names:
        every = [r for r in mine if r.data == name]
        last = next((r for r in every if not r.flagged), None)
        bad = every[0] if every and every[0].flagged else None
        found.append(Freshness(host, name, last, bad, allowed, _stale(last, bad, allowed, now)))
    return tuple(found)


def _stale(
    last: CaptureRecord | None, bad: CaptureRecord | None, allowed: float | None, now: float
) -> str:
    if last is None:
        return "no good capture" if allowed is not None or bad is not None else ""
    if bad is not None:
        return f"the newest is flagged: {bad.flagged}"
    if allowed is not None and now - last.at > allowed:
        return "too old"
    return ""
