"""``lab status``: the whole lab on one screen, and below each host why it needs somebody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.text import Text

from lab.api import HostStatus, LayerStatus, Standing
from lab.cli.text.groups import hosts_of
from lab.cli.text.look import Look, fit, line, pad, plural, show_seconds, title_of
from lab.model.units import show_size

_STYLE = {
    Standing.CONVERGED: "green",
    Standing.PENDING: "yellow",
    Standing.DRIFTED: "yellow",
    Standing.RUNNING: "cyan",
    Standing.FAILED: "bold red",
    Standing.REVERTED: "red",
    Standing.UNKNOWN: "magenta",
    Standing.DECLARED: "dim",
}
Reasons = tuple[tuple[str, str], ...]
ALIKE = 24
"""With more hosts than this, those that stand alike are told in one line."""
WIDE = 100
_STANDING, _AGE, _ENTROPY, _DUE = 10, 10, 8, 22
_NAME = 28
_DAY = 86400


@dataclass(frozen=True)
class Columns:
    """What there is to show, and how wide it may be."""

    name: int
    layers: tuple[str, ...]
    captured: bool
    drilled: bool
    scored: bool
    due: bool


def status_lines(
    hosts: Sequence[HostStatus],
    look: Look,
    now: datetime,
    titles: Mapping[str, str] | None = None,
    purposes: Mapping[str, str] | None = None,
) -> list[Text]:
    """Hosts by persona, those that need somebody first, each with its reasons; then a verdict."""
    if not hosts:
        return [line("No host is declared yet.")]
    at = now.timestamp()
    columns = _columns(hosts, look)
    lines = [_head(columns)]
    for persona, own in _by_persona(hosts).items():
        purpose = (purposes or {}).get(persona, "")
        lead = line((persona, "bold"))
        room = look.width - lead.cell_len - 3
        if purpose and room > _STANDING:
            lead.append_text(
                line((f" {look.signs.dot} {fit(purpose, room, look.signs.more)}", "dim"))
            )
        lines.append(lead)
        told = [(host, tuple(_reasons(host, at, titles))) for host in own]
        for group, reasons in _groups(told, fold=len(hosts) > ALIKE and not look.full):
            lines.append(_row(group, columns, look, at))
            names = [(_names(group), "dim")] if len(group) > 1 and reasons else []
            lines += [_indented(*reason, look) for reason in (*names, *reasons)]
    return [*lines, Text(), *_verdict(hosts, look, at)]


def _by_persona(hosts: Iterable[HostStatus]) -> dict[str, list[HostStatus]]:
    """Hosts in urgency within a persona, and the personas by their most urgent host."""
    found: dict[str, list[HostStatus]] = {}
    for host in sorted(hosts, key=_urgency):
        found.setdefault(host.persona, []).append(host)
    return found


def _urgency(host: HostStatus) -> int:
    order = (Standing.FAILED, Standing.REVERTED, Standing.UNKNOWN)
    if host.standing in order:
        return order.index(host.standing)
    if host.unsafe:
        return len(order)
    rest = (Standing.DRIFTED, Standing.PENDING, Standing.RUNNING, Standing.DECLARED)
    return len(order) + 1 + (rest.index(host.standing) if host.standing in rest else len(rest))


def _groups(
    told: Iterable[tuple[HostStatus, Reasons]], *, fold: bool
) -> Iterable[tuple[list[HostStatus], Reasons]]:
    """Hosts that look alike, told once; without ``fold`` each by itself."""
    if not fold:
        return [([host], reasons) for host, reasons in told]
    found: dict[object, tuple[list[HostStatus], Reasons]] = {}
    for host, reasons in told:
        cells = tuple((s.layer, s.standing) for s in host.layers)
        key = (host.standing, host.declared, cells, reasons)
        found.setdefault(key, ([], reasons))[0].append(host)
    return found.values()


def _names(group: Sequence[HostStatus]) -> str:
    return ", ".join(h.host for h in group)


def _indented(said: str, style: str, look: Look) -> Text:
    return line("    ", (fit(said, look.width - 4, look.signs.more), style))


def _columns(hosts: Sequence[HostStatus], look: Look) -> Columns:
    layers = tuple(dict.fromkeys(s.layer for h in hosts for s in h.layers))
    captured = any(h.captures for h in hosts)
    drilled = any(h.drill for h in hosts)
    scored = any(h.entropy is not None for h in hosts)
    due = look.width >= WIDE and (captured or drilled)
    used = 2 + _STANDING + 3 * len(layers) + 1 + _AGE + _AGE * (captured + drilled)
    used += _ENTROPY * scored + _DUE * due
    longest = max(cell_len(h.host) for h in hosts)
    longest = max(longest, _NAME // 2) if len(hosts) > ALIKE else longest
    name = max(min(longest, _NAME, look.width - used - 1), 8)
    return Columns(name, layers, captured, drilled, scored, due)


def _head(columns: Columns) -> Text:
    heads = "".join(pad(layer.partition("_")[0], 3) for layer in columns.layers)
    text = f"  {pad('host', columns.name)} {pad('standing', _STANDING)}{heads} {pad('seen', _AGE)}"
    text += pad("captured", _AGE) if columns.captured else ""
    text += pad("drilled", _AGE) if columns.drilled else ""
    text += pad("entropy", _ENTROPY) if columns.scored else ""
    text += "next due" if columns.due else ""
    return line((text.rstrip(), "bold"))


def _row(group: Sequence[HostStatus], columns: Columns, look: Look, at: float) -> Text:
    host = group[0]
    name = host.host if len(group) == 1 else hosts_of(tuple(h.host for h in group), look)
    if cell_len(name) > columns.name and len(group) > 1:
        name = plural(len(group), "host")
    word = host.standing.value if host.declared else "unlisted"
    seen = [max(times) for h in group if (times := [s.at for s in h.layers if s.at is not None])]
    text = line(
        ("  " + pad(fit(name, columns.name, look.signs.more), columns.name) + " ", "bold"),
        (pad(word, _STANDING), _STYLE[host.standing]),
    )
    text.append_text(_cells(host, columns.layers, look))
    text.append(" " + pad(_ago(min(seen), at) if seen else "never", _AGE), "dim")
    if columns.captured:
        text.append_text(_captured(group, at))
    if columns.drilled:
        text.append_text(_drilled(group, at))
    if columns.scored:
        scores = [h.entropy for h in group if h.entropy is not None]
        shown = f"{max(scores):,}" if scores else "-"
        style = "yellow" if any(scores) else "green" if scores else "dim"
        text.append(pad(shown, _ENTROPY), style)
    if columns.due:
        text.append_text(_due(group, look, at))
    text.rstrip()
    return text


def _cells(host: HostStatus, layers: Iterable[str], look: Look) -> Text:
    signs = {
        Standing.CONVERGED: look.signs.ok,
        Standing.PENDING: look.signs.change,
        Standing.DRIFTED: look.signs.warn,
        Standing.FAILED: look.signs.bad,
        Standing.REVERTED: look.signs.bad,
        Standing.UNKNOWN: "?",
        Standing.DECLARED: look.signs.skip,
    }
    standing = {s.layer: s.standing for s in host.layers}
    text = Text(no_wrap=True)
    for layer in layers:
        found = standing.get(layer)
        text.append(pad(signs[found] if found else "", 3), _STYLE[found] if found else "")
    return text


def _captured(group: Sequence[HostStatus], at: float) -> Text:
    captures = [c for h in group for c in h.captures]
    if not captures:
        return Text(pad("-", _AGE), "dim")
    good = [c.good for c in captures]
    known = [g for g in good if g is not None]
    style = "red" if any(c.flagged or c.overdue for c in captures) else "green"
    if len(known) < len(good):
        style = style if style == "red" else "dim"
        return Text(pad("never" if not known else "in part", _AGE), style)
    return Text(pad(_ago(min(known), at), _AGE), style)


def _drilled(group: Sequence[HostStatus], at: float) -> Text:
    drills = [h.drill for h in group if h.drill is not None]
    if not drills:
        return Text(pad("-", _AGE), "dim")
    ended = [d.at for d in drills]
    known = [e for e in ended if e is not None]
    late = any(d.overdue for d in drills)
    if len(known) < len(ended):
        return Text(pad("never", _AGE), "red" if late else "dim")
    if not all(d.proved for d in drills):
        return Text(pad("failed", _AGE), "bold red")
    return Text(pad(_ago(min(known), at), _AGE), "red" if late else "green")


def _due(group: Sequence[HostStatus], look: Look, at: float) -> Text:
    dues = sorted(_dues(group))
    if not dues:
        return Text("-", "dim")
    when, what, _ = dues[0]
    said = f"{what} {_until(when, at)}"
    return Text(fit(said, _DUE, look.signs.more), "red" if when < at else "")


def _dues(hosts: Iterable[HostStatus]) -> Iterable[tuple[float, str, str]]:
    """When, what, of which host."""
    for host in hosts:
        yield from ((c.due, "capture", host.host) for c in host.captures if c.due is not None)
        if host.drill is not None and host.drill.due is not None:
            yield host.drill.due, "drill", host.host


def _reasons(
    host: HostStatus, at: float, titles: Mapping[str, str] | None
) -> Iterable[tuple[str, str]]:
    """Why it needs somebody, a line each with its style."""
    if host.running is not None:
        held = host.running
        since = show_seconds(max(0.0, at - held.since))
        yield f"{held.who} runs '{held.command}' on it, for {since}", "cyan"
    known = dict(titles) if titles is not None else None
    for status in host.layers:
        said = _layer(status, at, known)
        if said:
            yield said, _STYLE[status.standing]
    for said in _data(host, at):
        yield said, "red"
    if not host.declared:
        yield f"no file declares it: lab destroy host={host.host}", "red"


def _layer(status: LayerStatus, at: float, titles: dict[str, str] | None) -> str:
    """What is the matter with a layer; ``""`` where the signs say enough."""
    title = title_of(status.layer, titles)
    since = f" since {_moment(status.since)} ({_ago(status.since, at)})" if status.since else ""
    if status.standing in {Standing.FAILED, Standing.REVERTED}:
        return f"{title}: {status.standing.value}{since}"
    if status.standing is Standing.UNKNOWN and status.outcome != "blocked":
        return f"{title}: {status.outcome}{since}"
    if status.standing is Standing.UNKNOWN:
        return f"{title}: not looked at, blocked{since}" if since else ""
    if status.standing is Standing.DRIFTED:
        count = plural(status.changes or 0, "change")
        return f"{title}: changed outside, {count} to make, since {_moment(status.since)}"
    return ""


def _data(host: HostStatus, at: float) -> Iterable[str]:
    for c in host.captures:
        if c.flagged:
            yield f"capture of {c.data} flagged: {c.flagged}"
        if c.overdue:
            last = f"last good {_moment(c.good)}" if c.good else "there is none"
            late = f" by {_span(at - c.due)}" if c.due is not None and c.due < at else ""
            size = f", {show_size(c.size)}" if c.good and c.size else ""
            yield f"capture of {c.data} overdue{late}: {last}{size}"
    drill = host.drill
    if drill is None:
        return
    if drill.at is not None and not drill.proved:
        yield f"drill of {_moment(drill.at)} did not bring everything back"
    if drill.slow and drill.rto is not None and host.rto is not None:
        yield f"drill took {show_seconds(drill.rto)}, {show_seconds(host.rto)} are allowed (rto)"
    if drill.overdue and drill.due is not None:
        last = f"proved last {_moment(drill.proved_at)}" if drill.proved_at else "never proved"
        yield f"drill overdue by {_span(at - drill.due)}: {last}"


def _verdict(hosts: Sequence[HostStatus], look: Look, at: float) -> list[Text]:
    declared = [h for h in hosts if h.declared]
    behind, unsafe = sum(h.behind for h in declared), sum(h.unsafe for h in declared)
    strangers = len(hosts) - len(declared)
    text = Text(no_wrap=True)
    if behind:
        text.append(f"{behind:,} of {plural(len(declared), 'host')} behind.", "yellow")
    else:
        text.append(f"{plural(len(declared), 'host')}, none behind.", "green")
    if unsafe:
        text.append(f" {plural(unsafe, 'host')} with captures or drills that need you.", "red")
    if strangers:
        text.append(f" {plural(strangers, 'host')} no longer declared.", "red")
    running = sum(h.running is not None for h in hosts)
    if running:
        text.append(f" {running:,} at work.", "cyan")
    coming = sorted(d for d in _dues(declared) if d[0] >= at)
    if not coming:
        return [text]
    when, what, host = coming[0]
    said = f"Next due: {what} of {host} {_until(when, at)}."
    return [text, line((fit(said, look.width, look.signs.more), "dim"))]


def _moment(at: float | None) -> str:
    """A local date and time."""
    if at is None:
        return "never"
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def _span(seconds: float) -> str:
    """``5m``, ``3h``, ``12d``."""
    for size, unit in ((_DAY, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(max(seconds, 0))}s"


def _ago(then: float, at: float) -> str:
    return f"{_span(at - then)} ago"


def _until(when: float, at: float) -> str:
    return f"in {_span(when - at)}" if when >= at else f"{_span(at - when)} late"
