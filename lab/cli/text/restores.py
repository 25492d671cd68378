"""Restores in words: what would go where, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.text import Text

from lab.cli.text.captures import row_lines
from lab.cli.text.look import Look, clean, line, plural, prose, show_age, show_seconds
from lab.cli.text.reports import failure_lines
from lab.model.outcome import RunReport
from lab.model.units import show_size

if TYPE_CHECKING:
    from lab.recovery.rebuilding import Step
    from lab.recovery.restores import Intended


def intended_lines(intended: Sequence[Intended], look: Look) -> list[Text]:
    """A line a path; what would give way is told below it."""
    lines, now = [], datetime.fromtimestamp(time.time(), UTC)
    for one in intended:
        age = show_age(datetime.fromtimestamp(one.capture.at, UTC), now)
        lines.append(
            line(
                ("~ " if one.replaces else "+ ", "yellow" if one.replaces else "green"),
                (f"{one.host}  {one.data}  ", "bold"),
                clean(one.path),
            )
        )
        files = f"{plural(one.files, 'file')}, " if one.files else ""
        what = f"{files}{show_size(one.size)}, captured {age} ago ({one.capture.snapshot[:8]})"
        lines += prose(what, look, 4, "dim")
        if one.resumes:
            lines += prose("an earlier restore of it did not finish", look, 4, "yellow")
        if one.replaces:
            lines += prose("what is there gives way, and is kept until all is well", look, 4, "red")
    return [*lines, Text()]


def restored_lines(report: RunReport, look: Look) -> list[Text]:
    """A row a set, what failed in full, and how many of how many."""
    lines = row_lines(report, look)
    for part in report.parts:
        if part.failure is not None:
            lines += [Text(), *failure_lines(part.failure, look)]
    count, bad = len(report.parts), sum(p.failure is not None for p in report.parts)
    told = f"{count - bad} of {plural(count, 'set')} restored"
    took = show_seconds(report.seconds)
    return [*lines, Text(), line((told, "red" if bad else "green"), (f" ({took})", "dim"))]


def step_lines(
    steps: Sequence[Step], notes: Mapping[str, str], look: Look, run: RunReport | None = None
) -> list[Text]:
    """Every step, what was noted, and the failure in full."""
    lines: list[Text] = []
    above = None
    for step in steps:
        if step.host != above and step.host:
            lines.append(line((step.host, "bold")))
        above = step.host
        done = step.done is not None
        sign = (look.signs.ok, "green") if done else ("·", "dim")
        took = f"  {show_seconds(step.done)}" if step.done is not None else ""
        lines.append(line("  " if step.host else "", sign, f" {step.what}", (took, "dim")))
    for about, note in notes.items():
        lines += prose(f"{about}: {note}", look, 2, "yellow", first="!")
    for part in run.parts if run is not None else ():
        if part.failure is not None:
            lines += [Text(), *failure_lines(part.failure, look)]
    if run is not None:
        count, took = sum(s.done is not None for s in steps), show_seconds(run.seconds)
        told = f"{count} of {plural(len(steps), 'step')} done"
        style = "green" if count == len(steps) else "red"
        lines += [Text(), line((told, style), (f" ({took})", "dim"))]
    return [*lines, Text()] if run is None else lines
