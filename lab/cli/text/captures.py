"""Captures in words: what was taken, what there is, what is too old."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from lab.cli.text.look import Look, clean, fit, line, pad, plural, prose, show_age, show_seconds
from lab.cli.text.reports import failure_lines
from lab.model.outcome import RunReport
from lab.model.recovered import SEEN, CaptureRecord
from lab.model.units import show_size

if TYPE_CHECKING:
    from lab.recovery.freshness import Freshness

_WIDEST = 20


def capture_lines(
    report: RunReport, notes: Mapping[tuple[str, str], Sequence[str]], look: Look
) -> list[Text]:
    """A row a set, what failed in full, and how many of how many."""
    lines = row_lines(report, look)
    bad = sum(p.failure is not None for p in report.parts)
    for part in report.parts:
        for note in notes.get((part.host, part.part), ()):
            lines += prose(f"{part.host} {part.part}: {note}", look, 2, "yellow", first="!")
    for part in report.parts:
        if part.failure is not None:
            lines += [Text(), *failure_lines(part.failure, look)]
    count, took = len(report.parts), show_seconds(report.seconds)
    verb = "captured" if report.verb == "capture" else "verified"
    seen = sum(p.failure is None and "".join(p.applied).startswith(SEEN) for p in report.parts)
    told = f"{count - bad - seen} of {plural(count, 'set')} {verb}"
    told += f", {seen} only seen to be there" if seen else ""
    lines += [Text(), line((told, "red" if bad else "green"), (f" ({took})", "dim"))]
    return lines


def row_lines(report: RunReport, look: Look) -> list[Text]:
    """A row a set: whose, which, what came of it, how long it took."""
    host = _width([p.host for p in report.parts])
    name = _width([p.part for p in report.parts])
    more, lines = look.signs.more, []
    for part in report.parts:
        good = part.failure is None
        done = part.applied[0] if part.applied else ""
        kind = "" if part.failure is None else part.failure.kind
        said = done if good else "flagged" if kind == "Flagged" else part.outcome.value
        sign = (look.signs.ok, "green") if good else (look.signs.bad, "bold red")
        took = f"{show_seconds(part.seconds):>7}"
        room = max(look.width - host - name - len(took) - 8, 8)
        lines.append(
            line(
                sign,
                " ",
                (pad(fit(part.host, host, more), host), "bold"),
                "  ",
                pad(fit(part.part, name, more), name),
                "  ",
                pad(fit(said, room, more), room),
                (took, "dim"),
            )
        )
    return lines


def listing_lines(records: Sequence[CaptureRecord], look: Look) -> list[Text]:
    """One line a capture, the newest first; times are local."""
    if not records:
        return [line("No captures.")]
    host, name = _width([r.host for r in records], 4), _width([r.data for r in records], 4)
    head = f"{pad('host', host)}  {pad('data', name)}  {'when':<16}  {'size':>8}  {'files':>7}  id"
    lines = [line((head, "bold"))]
    more = look.signs.more
    lines += [
        line(
            (pad(fit(r.host, host, more), host), "bold"),
            "  ",
            pad(fit(r.data, name, more), name),
            f"  {_when(r.at)}  {show_size(r.size):>8}  {r.files:>7,}  ",
            (r.snapshot[:8], "dim"),
            ("  flagged" if r.flagged else "", "red"),
            ("  verified" if r.verified else "", "green"),
        )
        for r in records
    ]
    return lines


def freshness_lines(found: Sequence[Freshness], look: Look, now: float) -> list[Text]:
    """One line a set: how old its newest good capture is, and why that is not enough."""
    host, name = _width([f.host for f in found], 4), _width([f.data for f in found], 4)
    today, more = datetime.fromtimestamp(now, UTC), look.signs.more
    head = f"  {pad('host', host)}  {pad('data', name)}  {'captured':<9}  verified"
    lines = [line((head, "bold"))]
    for one in found:
        last = one.last
        taken = show_age(datetime.fromtimestamp(last.at, UTC), today) if last else "never"
        read = last.verified if last else None
        verified = show_age(datetime.fromtimestamp(read, UTC), today) if read else "never"
        sign = (look.signs.bad, "bold red") if one.stale else (look.signs.ok, "green")
        text = line(
            sign,
            " ",
            (pad(fit(one.host, host, more), host), "bold"),
            f"  {pad(fit(one.data, name, more), name)}  {taken:<9}  {verified:<9} ",
        )
        room = max(look.width - text.cell_len - 1, 8)
        lines.append(text.append(fit(clean(one.stale), room, more), style="red"))
    stale = sum(bool(f.stale) for f in found)
    told = f"{stale} of {plural(len(found), 'set')} behind" if stale else "none behind"
    return [*lines, Text(), line((told, "red" if stale else "green"))]


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def _width(words: Sequence[str], least: int = 1) -> int:
    return min(_WIDEST, max([least, *(cell_len(w) for w in words)]))
