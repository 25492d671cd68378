"""Tables: values and their places, past runs, findings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from lab.cli.text.look import (
    Look,
    clean,
    fit,
    line,
    pad,
    plural,
    prose,
    show_seconds,
)
from lab.cli.text.values import show_value
from lab.journal import RunRecord
from lab.model.outcome import ExitCode, Finding

_EXIT = {
    ExitCode.OK: ("done", "green"),
    ExitCode.FAILED: ("failed", "bold red"),
    ExitCode.PENDING: ("pending", "yellow"),
    ExitCode.REFUSED: ("refused", "red"),
    ExitCode.UNREACHABLE: ("unreachable", "magenta"),
    ExitCode.INTERRUPTED: ("interrupted", "magenta"),
}


def shown_lines(values: Sequence[tuple[str, Any, str]], look: Look) -> list[Text]:
    """``path  value  file:line:column``: nothing is cut, so that it can be searched and copied."""
    rows = [(clean(path), show_value(value), where) for path, value, where in values]
    path_width = min(36, max((cell_len(r[0]) for r in rows), default=0))
    value_width = max(12, min(28, look.width - path_width - 30))
    return [
        line((pad(path, path_width), "cyan"), "  ", pad(value, value_width), "  ", (where, "dim"))
        for path, value, where in rows
    ]


def history_lines(runs: Sequence[RunRecord], look: Look) -> list[Text]:
    """One line a run, the newest first; times are local."""
    if not runs:
        return [line("No run yet.")]
    head = f"{'run':<6}  {'when':<16}  {'verb':<8}  {'result':<11}  {'changes':>7}  {'took':>7}"
    head += "  hosts"
    lines = [line((head, "bold"))]
    for run in runs:
        when = datetime.fromtimestamp(run.started, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
        word, style = result_of(run)
        took = show_seconds(run.seconds) if run.seconds is not None else "-"
        head = f"{run.run.rpartition('-')[2]:<6}  {when:<16}  {run.verb:<8}  "
        tail = f"  {run.changes:>7,}  {took:>7}  "
        text = line(head, (f"{word:<11}", style), tail)
        text.append(clean(fit(_who(run), max(look.width - text.cell_len, 12), look.signs.more)))
        lines.append(text)
    return lines


def _who(run: RunRecord) -> str:
    few = ", ".join(run.hosts) if len(run.hosts) <= 2 else plural(len(run.hosts), "host")  # noqa: PLR2004
    return " ".join(
        w for w in (few, f"by {run.who}", f"at {run.commit}" if run.commit else "") if w
    )


def result_of(run: RunRecord) -> tuple[str, str]:
    """How it ended, in a word and its style; ``cut off`` where it did not come to its end."""
    if run.running:
        return ("running", "cyan")
    if run.exit_code is None:
        return ("cut off", "magenta") if run.ended is None else ("unknown", "magenta")
    known = run.exit_code in set(ExitCode)
    return _EXIT.get(ExitCode(run.exit_code), ("failed", "red")) if known else ("failed", "red")


def doctor_lines(findings: Sequence[Finding], look: Look) -> list[Text]:
    """Pass, warn, fail, each with the line that mends it; what fails stands last."""
    marks = {
        "pass": (look.signs.ok, "green"),
        "warn": (look.signs.warn, "yellow"),
        "fail": (look.signs.bad, "bold red"),
    }
    order = list(marks)
    lines: list[Text] = []
    for finding in sorted(findings, key=lambda f: order.index(f.level)):
        sign, style = marks[finding.level]
        head = line((sign, style), " ", (finding.what, "bold"))
        if finding.detail and head.cell_len + cell_len(finding.detail) + 2 <= look.width:
            head.append(f": {clean(finding.detail)}")
            lines.append(head)
        else:
            lines.append(head)
            lines += prose(finding.detail, look, 4) if finding.detail else []
        if finding.hint and finding.level != "pass":
            lines.append(line("    ", ("Try: ", "cyan"), finding.hint))
    count = {level: sum(f.level == level for f in findings) for level in order}
    lines += [
        Text(),
        line(
            (f"{count['pass']} pass", "green"),
            ", ",
            (f"{count['warn']} warn", "yellow" if count["warn"] else ""),
            ", ",
            (f"{count['fail']} fail", "bold red" if count["fail"] else ""),
        ),
    ]
    return lines
