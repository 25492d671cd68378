"""How a host's data stands: captured when, verified when, drilled when, and what is due next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from lab.model.declared import GRACE
from lab.model.host import Host
from lab.model.recovered import CaptureRecord, DrillRecord

RecordT = TypeVar("RecordT", CaptureRecord, DrillRecord)


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    """One data set of one host. Times are seconds since the epoch.

    Attributes:
        data: Its name.
        good: When the last capture that can be relied on was taken; ``None`` = there is none.
        verified: When the content of one was last read back whole; ``None`` = never.
        flagged: Why the newest capture is not relied on; ``""`` = it is.
        size: Bytes of the last good one.
        files: How many files it holds.
        due: When the next one is; ``None`` = no rhythm is declared.
        overdue: It is later than that by more than a tenth of its period, or than the RPO allows.
    """

    data: str
    good: float | None = None
    verified: float | None = None
    flagged: str = ""
    size: int = 0
    files: int = 0
    due: float | None = None
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class DrillStatus:
    """The drills of one host.

    Attributes:
        at: When the last one ended; ``None`` = there was none.
        proved: It brought everything back.
        proved_at: When one last did.
        rto: Seconds from nothing to healthy, of the last one.
        rpo: Seconds of work that it would have lost.
        missing: Things of the host that no capture covers.
        slow: It took longer than the persona allows.
        due: When the next one is; ``None`` = no rhythm is declared.
        overdue: It is later than that by more than a tenth of its period.
    """

    at: float | None = None
    proved: bool = False
    proved_at: float | None = None
    rto: float | None = None
    rpo: float | None = None
    missing: int = 0
    slow: bool = False
    due: float | None = None
    overdue: bool = False


def by_host(records: Iterable[RecordT]) -> dict[str, list[RecordT]]:
    """Records in their order, host by host."""
    found: dict[str, list[RecordT]] = {}
    for record in records:
        found.setdefault(record.host, []).append(record)
    return found


def captures_of(
    host: Host,
    expected: Iterable[str],
    records: Iterable[CaptureRecord],
    now: float,
    since: float | None,
) -> tuple[CaptureStatus, ...]:
    """Every data set of a host, those ``expected`` of it first.

    ``records`` come newest first, ``since`` is when the host was first made: one that never was has
    nothing to be captured yet.
    """
    sets: dict[str, list[CaptureRecord]] = {}
    if since is not None and host.lifecycle.capture is not None:
        sets = {name: [] for name in expected}
    for record in records:
        sets.setdefault(record.data, []).append(record)
    return tuple(_capture(host, name, found, now, since) for name, found in sets.items())


def _capture(
    host: Host, name: str, records: list[CaptureRecord], now: float, since: float | None
) -> CaptureStatus:
    good = next((r for r in records if not r.flagged), None)
    verified = max((r.verified for r in records if r.verified is not None), default=None)
    period = host.lifecycle.capture
    start = good.at if good is not None else since
    due = start + period if period is not None and start is not None else None
    allowed = host.lifecycle.oldest_capture
    overdue = start is not None and allowed is not None and now - start > allowed
    return CaptureStatus(
        data=name,
        good=good.at if good else None,
        verified=verified,
        flagged=records[0].flagged if records else "",
        size=good.size if good else 0,
        files=good.files if good else 0,
        due=due,
        overdue=overdue,
    )


def drill_of(
    host: Host, records: Iterable[DrillRecord], now: float, since: float | None
) -> DrillStatus | None:
    """``None`` where none is declared and none was ever made; ``records`` newest first."""
    drills = list(records)
    period = host.lifecycle.drill
    if not drills and (period is None or since is None):
        return None
    proved = next((d.at for d in drills if d.proved), None)
    start = proved if proved is not None else since
    due = start + period if period is not None and start is not None else None
    overdue = due is not None and period is not None and now > due + period * GRACE
    if not drills:
        return DrillStatus(due=due, overdue=overdue)
    last, limit = drills[0], host.lifecycle.rto
    slow = limit is not None and last.rto is not None and last.rto > limit
    return DrillStatus(
        at=last.at,
        proved=last.proved,
        proved_at=proved,
        rto=last.rto,
        rpo=last.rpo,
        missing=last.missing,
        slow=slow,
        due=due,
        overdue=overdue,
    )
