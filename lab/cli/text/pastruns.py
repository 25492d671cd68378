"""A run of the past in full, and two of them beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from lab.cli.text.look import Look, fit, host_name, line, plural, prose, show_seconds, title_of
from lab.cli.text.plans import change_lines
from lab.cli.text.reports import failure_lines
from lab.cli.text.rows import WAITS, ended_row
from lab.cli.text.tables import result_of
from lab.cli.text.values import show_value
from lab.clients.checkout import Commit
from lab.journal import ChangePast, RunPast
from lab.model.outcome import PartReport

if TYPE_CHECKING:
    from lab.api.past import RunDiff

_COMMITS = 12
_ANYTHING = 0.05  # seconds that a step must take to be worth a comparison


def run_lines(run: RunPast, look: Look, titles: dict[str, str]) -> list[Text]:
    """Who, when and what for; then host by host each layer, each change, each failure."""
    record = run.record
    word, style = result_of(record)
    lines = [line((record.run, "bold"), f"  {record.verb}  ", (word, style)), *_facts(run, look)]
    reports = [p.report for p in run.parts]
    for host in dict.fromkeys([*record.hosts, *(r.host for r in reports)]):
        lines += [Text(), line((host_name(host), "bold underline"))]
        of_host = [r for r in reports if r.host == host]
        for report in of_host:
            lines += _part(report, run, look, titles)
        lines += _loose(run, host, of_host, look, titles)
        if not of_host and not any(c.host == host for c in run.changes):
            lines.append(line(("  nothing is recorded of it", "dim")))
    if record.ended is None:
        what = "It is still running." if record.running else (
            "It was cut off before its end: the same command again finishes the job."
        )  # fmt: skip
        lines += [Text(), *prose(what, look, 0, "magenta")]
    return lines


def _facts(run: RunPast, look: Look) -> Iterator[Text]:
    record, asked = run.record, run.asked
    when = _when(record.started)
    if record.ended is not None:
        when += f" to {_clock(record.ended)}"
    if record.seconds is not None:
        when += f" ({show_seconds(record.seconds)})"
    said = [k if v is True else f"{k} {_words(v)}" for k, v in asked.parameters.items()]
    facts = {
        "when": when,
        "who": record.who,
        "commit": record.commit or "",
        "plan": asked.plan or "",
        "asked": ", ".join(said),
        "command": asked.command,
    }
    for name, text in facts.items():
        if text:
            yield from prose(text, look, 11, first=f"  {name}")


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else show_value(value)


def _part(report: PartReport, run: RunPast, look: Look, titles: dict[str, str]) -> Iterator[Text]:
    row = ended_row(report, look, titles, run.record.verb)
    name = title_of(report.layer, titles, report.part)
    driver = f" {look.signs.dot} {report.driver}" if report.driver else ""
    took = f"  {show_seconds(report.seconds)}" if report.seconds else ""
    yield line("  ", row.sign, " ", (name, "cyan"), (driver, "dim"), "  ", (row.text, row.style),
               (took, "dim"))  # fmt: skip
    key = (report.host, report.layer, report.part)
    for change in run.changes:
        if (change.host, change.layer, change.part) == key:
            yield from _change(change, look)
    if report.failure is not None and report.failure.kind != WAITS:
        yield from failure_lines(report.failure, look, 6)


def _loose(
    run: RunPast, host: str, reports: list[PartReport], look: Look, titles: dict[str, str]
) -> Iterator[Text]:
    """Changes of parts whose end nobody recorded: the run was cut off in them."""
    ended = {(r.layer, r.part) for r in reports}
    told = ""
    for change in run.changes:
        if change.host != host or (change.layer, change.part) in ended:
            continue
        name = title_of(change.layer, titles, change.part)
        if name != told:
            word = "running" if run.record.running else "cut off"
            yield line(
                "  ", (look.signs.bad, "magenta"), " ", (name, "cyan"), "  ", (word, "magenta")
            )
            told = name
        yield from _change(change, look)


def _change(past: ChangePast, look: Look) -> Iterator[Text]:
    first, *rest = change_lines(past.change, look, 6)
    took = f", {show_seconds(past.seconds)}" if past.seconds is not None else ""
    ends = {True: ("done", "green"), False: ("failed", "bold red"), None: ("unknown", "magenta")}
    word, style = ends[past.ok]
    yield first
    yield line("        ", (f"{_clock(past.started)}  ", "dim"), (word, style), (took, "dim"))
    yield from rest


def diff_lines(diff: RunDiff, look: Look, titles: dict[str, str]) -> list[Text]:
    """What differs, the most important last; ``-`` is the first run, ``+`` the second."""
    lines = [*_heads(diff, look), *_asked(diff), *_commits(diff, look)]
    for sign, style, hosts in (("-", "red", diff.hosts[0]), ("+", "green", diff.hosts[1])):
        if hosts:
            lines += prose(", ".join(hosts), look, 10, style, first=f"  hosts {sign}")
    lines += _steps(diff, look, titles)
    for sign, style, changes in (("-", "red", diff.changes[0]), ("+", "green", diff.changes[1])):
        if changes:
            which = "first" if sign == "-" else "second"
            lines += [Text(), line((f"Only the {which} made:", "bold"))]
        for host, layer, text in changes:
            where = f"{host_name(host)} {layer.partition('_')[0]}"
            lines.append(line("  ", (f"{sign} {where}: {text}", style)))
    told = "They did the same." if diff.same else "They differ."
    return [*lines, Text(), line((told, "bold green" if diff.same else "bold yellow"))]


def _heads(diff: RunDiff, look: Look) -> Iterator[Text]:
    for sign, style, run in (("-", "red", diff.runs[0]), ("+", "green", diff.runs[1])):
        record = run.record
        word, _ = result_of(record)
        took = f" in {show_seconds(record.seconds)}" if record.seconds is not None else ""
        at = f" at {record.commit}" if record.commit else ""
        text = f"{record.run}  {record.verb}  {word}{took}"
        yield line((f"{sign} ", style), (text, style))
        yield line("  ", (fit(f"{_when(record.started)} by {record.who}{at}", look.width - 2,
                              look.signs.more), "dim"))  # fmt: skip


def _asked(diff: RunDiff) -> Iterator[Text]:
    for name, pair in diff.parameters.items():
        before, after = (_words(v) if v is not None else "none" for v in pair)
        yield line("  asked: ", f"{name}: ", (before, "red"), " → ", (after, "green"))


def _commits(diff: RunDiff, look: Look) -> Iterator[Text]:
    if diff.same_commit:
        return
    if diff.commits is None:
        yield line(("  commits: this checkout does not know both", "dim"))
        return
    for sign, style, commits in (("+", "green", diff.commits), ("-", "red", diff.gone or ())):
        for commit in commits[:_COMMITS]:
            yield line("  ", (f"{sign} {_told(commit, look.width - 4, look)}", style))
        if len(commits) > _COMMITS:
            rest = plural(len(commits) - _COMMITS, "more commit")
            yield line((f"    {look.signs.more} and {rest}", "dim"))


def _told(commit: Commit, room: int, look: Look) -> str:
    return fit(f"{commit.id} {commit.subject} ({commit.author})", room, look.signs.more)


def _steps(diff: RunDiff, look: Look, titles: dict[str, str]) -> Iterator[Text]:
    """Steps that ended differently, and those that took noticeably longer or shorter."""
    shown = [
        s for s in diff.steps
        if s.outcomes[0] != s.outcomes[1] or max(t or 0.0 for t in s.seconds) >= _ANYTHING
    ]  # fmt: skip
    if not shown:
        return
    yield Text()
    names = [f"{host_name(s.host)} {title_of(s.layer, titles, s.part)}" for s in shown]
    width = min(max(map(len, names)), look.width - 40)
    for name, step in zip(names, shown, strict=True):
        before, after = (o or "-" for o in step.outcomes)
        ended = before if before == after else f"{before} {look.signs.arrow} {after}"
        times = [show_seconds(t) if t is not None else "-" for t in step.seconds]
        style = "" if before == after else "yellow"
        yield line(f"  {fit(name, width, look.signs.more):<{width}}  ", (f"{ended:<24}", style),
                   (f"  {times[0]} {look.signs.arrow} {times[1]}", "dim"))  # fmt: skip


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%H:%M:%S")
