"""What is on hosts and in no file, host by host, the heaviest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.cells import cell_len
from rich.text import Text

from lab.api import Adopted, SurveyReport
from lab.cli.text.look import Look, clean, clean_lines, fit, line, pad, plural, prose
from lab.cli.text.plans import plan_lines
from lab.cli.text.rows import WAITS
from lab.model.undeclared import Sort, Undeclared, score
from lab.model.units import show_size

_IN_A_ROW = {Sort.PACKAGE, Sort.MISSING, Sort.GROUP}
"""Sorts of which there are many, and whose names say enough."""

_NAME = 40
_STYLE = {5: "bold red", 3: "red", 2: "yellow", 1: ""}


def entropy_lines(report: SurveyReport, look: Look, *, everything: bool = False) -> list[Text]:
    """Every host that was looked at, the others with what kept us, and a summary."""
    lines: list[Text] = []
    for host, things in report.found.items():
        lines += [*_host(host, things, look, everything=everything), Text()]
    lines += [
        line((f"{look.signs.skip} {host}  does not exist yet", "dim")) for host in report.absent
    ]
    lines += [Text()] if report.absent else []
    failed = _failed(report, look)
    lines += failed
    for entry in report.unused:
        told = (
            f"{entry.where}: nothing is accepted by it any more ({entry.kind.value} {entry.name})"
        )
        lines += prose(told, look, 2, "yellow", first=look.signs.warn)
    lines += [Text()] if failed or report.unused else []
    return [*lines, _summary(report)]


def _failed(report: SurveyReport, look: Look) -> list[Text]:
    """Hosts that could not be looked at: why, and what to try."""
    lines: list[Text] = []
    for part in report.run.parts:
        if part.failure is None or part.failure.kind == WAITS:
            continue
        told = f"{part.host}: {part.failure.message}"
        lines += prose(told, look, 2, "red", first=look.signs.bad)
        if part.failure.hint:
            lines += prose(f"Try: {part.failure.hint}", look, 4)
    return lines


def _host(host: str, things: Sequence[Undeclared], look: Look, *, everything: bool) -> list[Text]:
    mine = [t for t in things if not t.accepted]
    fine = [t for t in things if t.accepted]
    also = f"{len(fine)} accepted" if fine else ""
    if not mine:
        rest = f" ({also})" if also else ""
        lines = [line((f"{look.signs.ok} ", "green"), (host, "bold"), f"  as its files say{rest}")]
    else:
        rest = f", {also}" if also else ""
        head = f"  entropy {score(things)}: {plural(len(mine), 'thing')} declared nowhere{rest}"
        lines = [line((host, "bold"), head), *_table(mine, look)]
    if everything and fine:
        narrow = Look(look.width - 2, look.signs, look.full, look.wraps)
        lines.append(line("  ", ("accepted", "dim")))
        lines += [line("  ", row) for row in _table(fine, narrow, accepted=True)]
    return lines


def _table(things: Sequence[Undeclared], look: Look, *, accepted: bool = False) -> list[Text]:
    column = max(cell_len(t.sort.value) for t in things) + 2
    rows = [t for t in things if accepted or look.full or t.sort not in _IN_A_ROW]
    width = min(max((cell_len(clean(t.name)) for t in rows), default=0), _NAME)
    lines: list[Text] = []
    for sort, group in groupby(things, key=lambda t: t.sort):
        members = list(group)
        head = line("  ", (pad(sort.value, column), "dim" if accepted else _STYLE[sort.weight]))
        if members[0] in rows:
            told = [_row(t, width, column, look) for t in members]
        else:
            told = _flow((t.name for t in members), column, look)
        lines.append(head.append_text(told[0]))
        lines += [line(" " * (column + 2)).append_text(t) for t in told[1:]]
    return lines


def _row(thing: Undeclared, width: int, column: int, look: Look) -> Text:
    """Name, size and a few words; the name is never cut, as it is what accepted.yaml takes."""
    name = clean(thing.name)
    words = [show_size(thing.size)] if thing.size is not None else []
    words += [w for w in (thing.accepted or thing.detail,) if w]
    room = look.width - column - 2 - max(width, cell_len(name)) - 2
    rest = ", ".join(words)
    shown = fit(clean(rest), room, look.signs.more) if room > 6 and not look.full else rest  # noqa: PLR2004
    return line(pad(name, width) if shown else name, (f"  {shown}" if shown else "", "dim"))


def _flow(names: Iterable[str], column: int, look: Look) -> list[Text]:
    return [
        line(text.plain.strip())
        for text in prose(", ".join(names), Look(look.width - column - 2, look.signs), 0)
    ]


def _summary(report: SurveyReport) -> Text:
    looked = len(report.scores)
    some = sum(bool(s) for s in report.scores.values())
    failed = len({p.host for p in report.run.parts if not p.outcome.is_good})
    end = [f", {failed} not looked at"] if failed else []
    if some:
        count = f"{some} of {plural(looked, 'host')}" if looked > 1 else "1 host"
        return line((f"{count} with something undeclared", "yellow"), *end, ".")
    if looked:
        return line((f"{plural(looked, 'host')}, nothing undeclared", "green"), *end, ".")
    return line("No host was looked at.")


def adopted_lines(adopted: Adopted, look: Look, titles: dict[str, str] | None = None) -> list[Text]:
    """The files, what is in none of them, and the plan right after."""
    width = max(cell_len(path) for path, _ in adopted.written)
    verb = "would be written" if adopted.plan is None else "is written down"
    lines = [line((adopted.host, "bold"), f" {verb}:")]
    for path, what in adopted.written:
        told = prose(what, Look(look.width - width - 4, look.signs), 0)
        lines.append(line("  ", (pad(path, width), "cyan"), "  ", told[0].plain))
        lines += [line(" " * (width + 4), part.plain) for part in told[1:]]
    if adopted.left:
        lines += [Text(), line("Not in it:")]
        for what, why in adopted.left:
            first, *rest = prose(
                f"{what}: {why}", Look(look.width - 4, look.signs, wraps=look.wraps), 0
            )
            lines += [line("  ", first.plain), *(line("    ", text.plain) for text in rest)]
    lines.append(Text())
    if adopted.plan is None:
        lines.append(line((f"{adopted.written[0][0]}:", "bold")))
        return lines + [line("  ", text) for text in clean_lines(adopted.persona)]
    return lines + plan_lines(adopted.plan, look, titles)
