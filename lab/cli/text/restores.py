"""Restores in words: what would go where, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.text import Text

from lab.cli.text.captures import row_lines
from lab.cli.text.look import Look, clean, line, pad, plural, prose, show_age, show_seconds
from lab.cli.text.reports import failure_lines
from lab.model.outcome import RunReport
from lab.model.units import show_size

if TYPE_CHECKING:
    from lab.recovery.evidence import Evidence
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
        what = f"{files}{show_size(one.size)}, captured {age} ({one.capture.snapshot[:8]})"
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


def drill_lines(evidence: Sequence[Evidence], run: RunReport, look: Look) -> list[Text]:
    """Of each host: the verdict, its steps and times, and what no capture covers."""
    lines: list[Text] = []
    for one in evidence:
        sign = (look.signs.ok, "green") if one.proved else (look.signs.bad, "bold red")
        verdict = "proved" if one.proved else "not proved"
        lines.append(line(sign, " ", (one.host, "bold"), f"  {verdict}"))
        for name, seconds in one.steps.items():
            lines.append(line("  ", pad(name, _STEP), (f"{show_seconds(seconds):>8}", "dim")))
        rto = "never" if one.rto is None else show_seconds(one.rto)
        rpo = "nothing was captured" if one.rpo is None else show_seconds(one.rpo)
        lines += prose(f"from nothing to healthy: {rto}; work that would be lost: {rpo}", look, 2)
        for restored in one.restored:
            what = f"{restored.data}: {plural(restored.files, 'file')}, {show_size(restored.size)}"
            lines += prose(f"{what}: {restored.compared}", look, 2, "green", first="=")
        for thing in one.missing[:_SHOWN]:
            lines += prose(f"not captured: {thing}", look, 2, "yellow", first="!")
        if len(one.missing) > _SHOWN:
            lines += prose(f"and {len(one.missing) - _SHOWN} more", look, 2, "yellow", first="!")
        for note in one.notes:
            lines += prose(note, look, 2, "yellow", first="!")
    for part in run.parts:
        if part.failure is not None:
            lines += [Text(), *failure_lines(part.failure, look)]
    count, good = len(run.parts), sum(e.proved for e in evidence)
    told = f"{good} of {plural(count, 'host')} proved"
    took = show_seconds(run.seconds)
    style = "green" if good == count else "red"
    return [*lines, Text(), line((told, style), (f" ({took})", "dim"))]


_STEP = 34
_SHOWN = 10
