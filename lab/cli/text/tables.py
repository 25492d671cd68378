"""Tables: standings, values and their places, past runs, findings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from lab.api import HostStatus, Standing
from lab.cli.text.look import (
    Look,
    clean,
    fit,
    line,
    pad,
    plural,
    prose,
    show_age,
    show_seconds,
    title_of,
)
from lab.cli.text.values import show_value
from lab.journal import RunRecord
from lab.model.outcome import ExitCode, Finding

_STANDING = {
    Standing.CONVERGED: "green",
    Standing.PENDING: "yellow",
    Standing.DRIFTED: "yellow",
    Standing.RUNNING: "cyan",
    Standing.FAILED: "bold red",
    Standing.REVERTED: "red",
    Standing.UNKNOWN: "magenta",
    Standing.DECLARED: "dim",
}
_SHORT = {Standing.CONVERGED: "ok"}
_EXIT = {
    ExitCode.OK: ("done", "green"),
    ExitCode.FAILED: ("failed", "bold red"),
    ExitCode.PENDING: ("pending", "yellow"),
    ExitCode.REFUSED: ("refused", "red"),
    ExitCode.UNREACHABLE: ("unreachable", "magenta"),
    ExitCode.INTERRUPTED: ("interrupted", "magenta"),
}
_ENTROPY = 9
ALIKE = 24
"""With more hosts than this, those that are wholly converged are told in one line."""


def status_lines(
    hosts: Sequence[HostStatus], look: Look, now: datetime, titles: dict[str, str] | None = None
) -> list[Text]:
    """Hosts by layers with each standing, when it was last seen, and the hosts that are behind."""
    layers = list(dict.fromkeys(s.layer for h in hosts for s in h.layers))
    good = [h for h in hosts if not h.behind and h.layers]
    shown = [h for h in hosts if h.behind or not h.layers] if len(hosts) > ALIKE else list(hosts)
    column = 12 if look.width >= 100 else 8  # noqa: PLR2004  (columns; "declared" takes eight)
    scored = any(h.entropy is not None for h in hosts)
    room = look.width - len(layers) * (column + 1) - 12 - (_ENTROPY if scored else 0)
    width = min(max([4, *(cell_len(h.host) for h in shown)]), max(room, 8))
    of = min(max([7, *(cell_len(h.persona) for h in shown)]), room - width)
    of = of if of >= 7 else 0  # noqa: PLR2004  (narrower than its heading says nothing)
    more = look.signs.more
    lines = []
    if shown:
        heads = "".join(pad(x, column + 1) for x in _heads(layers, titles, column))
        heads += pad("entropy", _ENTROPY) if scored else ""
        persona = f"{pad('persona', of)}  " if of else ""
        lines.append(line((f"{pad('host', width)}  {persona}{heads}last run", "bold")))
    for host in shown:
        persona = f"{pad(fit(host.persona, of, more), of)}  " if of else ""
        lines.append(
            line((pad(fit(host.host, width, more), width), "bold"), "  ", (persona, "dim"))
            .append_text(_cells(host, layers, column, look))
            .append_text(_entropy(host) if scored else Text())
            .append(_last(host, now), style="dim")
        )
    if len(shown) < len(hosts):
        lines.append(line((f"{look.signs.ok} ", "green"), f"{plural(len(good), 'host')} converged"))
    return [*lines, Text(), _verdict(hosts)]


def _heads(layers: list[str], titles: dict[str, str] | None, column: int) -> list[str]:
    """``l2 machine`` where all of them fit, else ``l2``."""
    full = [title_of(layer, titles) for layer in layers]
    if all(cell_len(f) <= column for f in full):
        return full
    return [layer.partition("_")[0] for layer in layers]


def _cells(host: HostStatus, layers: list[str], column: int, look: Look) -> Text:
    by_layer = {s.layer: s for s in host.layers}
    text = Text(no_wrap=True)
    for layer in layers:
        found = by_layer.get(layer)
        if found is None:
            text.append(pad("-", column + 1), style="dim")
            continue
        word = _SHORT.get(found.standing, found.standing.value)
        text.append(pad(fit(word, column, look.signs.more), column + 1), _STANDING[found.standing])
    return text


def _entropy(host: HostStatus) -> Text:
    """What the last look at the whole host came to."""
    if host.entropy is None:
        return Text(pad("-", _ENTROPY), style="dim")
    return Text(pad(f"{host.entropy:,}", _ENTROPY), style="yellow" if host.entropy else "green")


def _last(host: HostStatus, now: datetime) -> str:
    if not host.declared:
        return "unlisted"
    times = [s.at for s in host.layers if s.at is not None]
    return show_age(datetime.fromtimestamp(max(times), UTC), now) if times else "never"


def _verdict(hosts: Sequence[HostStatus]) -> Text:
    strangers = [h for h in hosts if not h.declared]
    behind = sum(h.behind for h in hosts if h.declared)
    declared = len(hosts) - len(strangers)
    end = f" {plural(len(strangers), 'host')} no longer declared." if strangers else ""
    if behind:
        return line((f"{behind:,} of {plural(declared, 'host')} behind.", "yellow"), (end, "red"))
    return line((f"{plural(declared, 'host')}, none behind.", "green"), (end, "red"))


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
