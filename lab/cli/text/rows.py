"""Hosts and layers as aligned rows: the same while a run goes on and when it is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.text import Text

from lab.cli.text.look import (
    Look,
    clean,
    clean_lines,
    fit,
    host_name,
    line,
    pad,
    plural,
    show_seconds,
    title_of,
)
from lab.model.outcome import Outcome, PartReport
from lab.model.units import show_size

BYTES = 64 * 1024
"""A total of at least this counts bytes; fewer are items (files, packages, containers)."""

WAITS = "After"
"""The kind of a failure that is only another one's consequence."""

BAR = 10
HOST_WIDTH = 20

_STYLE = {
    Outcome.UNCHANGED: "green",
    Outcome.CHANGED: "yellow",
    Outcome.PENDING: "yellow",
    Outcome.FAILED: "bold red",
    Outcome.REVERTED: "bold red",
    Outcome.BLOCKED: "red",
    Outcome.UNREACHABLE: "magenta",
    Outcome.INTERRUPTED: "magenta",
}


@dataclass(frozen=True)
class Row:
    """One target of one layer of one host, now or at its end."""

    sign: tuple[str, str]
    host: str
    layer: str
    part: str
    driver: str
    text: str
    took: float
    style: str = ""
    done: int | None = None
    total: int | None = None
    titles: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """``l2 machine``; of a part with a name ``l4 start``."""
        return clean(title_of(self.layer, self.titles, self.part))


class Table:
    """Rows in columns that fit all of them; what does not fit is cut in the text, never beside."""

    def __init__(self, rows: Sequence[Row], look: Look) -> None:
        self.look = look
        self.host = min(HOST_WIDTH, max((cell_len(r.host) for r in rows), default=0))
        self.label = min(24, max((cell_len(r.label) for r in rows), default=0))
        wide = look.width >= 70  # noqa: PLR2004  (columns; narrower leaves the driver out)
        self.driver = min(12, max((cell_len(r.driver) for r in rows), default=0)) if wide else 0

    def line(self, row: Row, *, host: bool = True) -> Text:
        """One row; without ``host`` its column stays empty (the same host as above)."""
        more = self.look.signs.more
        left = [
            pad(fit(row.host if host else "", self.host, more), self.host),
            pad(fit(row.label, self.label, more), self.label),
        ]
        driver = pad(fit(row.driver, self.driver, more), self.driver) if self.driver else ""
        gauge = self._gauge(row)
        took = f"{show_seconds(max(row.took, 0.0)):>7}"
        used = 2 + sum(cell_len(x) + 2 for x in left) + (len(driver) + 2 if driver else 0)
        room = self.look.width - used - len(took) - (cell_len(gauge) + 2 if gauge else 0)
        text = pad(fit(row.text, max(room, 4), more), max(room, 4))
        return line(
            row.sign,
            " ",
            (left[0], "bold"),
            "  ",
            left[1],
            "  ",
            (f"{driver}  " if driver else "", "dim"),
            (text, row.style),
            (f"  {gauge}" if gauge else "", "cyan"),
            (took, "dim"),
        )

    def _gauge(self, row: Row) -> str:
        """``━━━━────── 120MiB/335MiB``, ``3/12``, ``4.0MiB``, or nothing."""
        if row.done is None:
            return ""
        if row.total is None or row.total <= 0:
            return show_size(row.done) if row.done >= BYTES else f"{row.done:,}"
        size = row.total >= BYTES
        counts = (
            f"{_about(row.done)}/{_about(row.total)}" if size else f"{row.done:,}/{row.total:,}"
        )
        if self.look.width < 70:  # noqa: PLR2004
            return counts
        filled = min(BAR, max(0, row.done * BAR // row.total))
        signs = self.look.signs
        return f"{signs.bar * filled}{signs.rest * (BAR - filled)} {counts}"


def _about(size: int) -> str:
    """A size that moves: whole MiB, or GiB with a decimal."""
    if size >= 1024**3:
        return f"{size / 1024**3:.1f}GiB"
    return f"{size // 1024**2}MiB" if size >= 1024**2 else f"{size // 1024}KiB"


def ended_row(
    part: PartReport, look: Look, titles: dict[str, str] | None = None, verb: str = ""
) -> Row:
    """The row of a part that is through."""
    signs = look.signs
    good = part.outcome in {Outcome.UNCHANGED, Outcome.CHANGED}
    sign = signs.ok if good else signs.change if part.outcome is Outcome.PENDING else signs.bad
    if part.outcome is Outcome.BLOCKED:
        sign = signs.skip
    style = _STYLE[part.outcome]
    return Row(
        sign=(sign, "green" if good else style),
        host=host_name(part.host),
        layer=part.layer,
        part=part.part,
        driver=part.driver,
        text=outcome_text(part, verb),
        took=part.seconds,
        style="" if part.outcome is Outcome.UNCHANGED else style.removeprefix("bold "),
        titles=titles or {},
    )


def outcome_text(part: PartReport, verb: str = "") -> str:
    """How it ended, in a few words."""
    count = len(part.plan.changes)
    match part.outcome:
        case Outcome.UNCHANGED:
            return {
                "destroy": "nothing to remove",
                "entropy": "looked at",
                "adopt": "looked at",
            }.get(verb, "as declared")
        case Outcome.CHANGED:
            return plural(len(part.applied) or count, "change")
        case Outcome.PENDING:
            predicted = " (predicted)" if part.plan.predicted else ""
            return f"{plural(count, 'change')} to make{predicted}"
        case _:
            why = part.failure.message if part.failure else ""
            if not why and part.plan.blockers:
                why = part.plan.blockers[0].what
            return f"{part.outcome.value}: {clean_lines(why)[0]}" if why else part.outcome.value


def tree_lines(
    parts: Iterable[PartReport], look: Look, titles: dict[str, str] | None = None, verb: str = ""
) -> list[Text]:
    """Every part as a row, in the order given, each host named once."""
    rows = [ended_row(p, look, titles, verb) for p in parts]
    table = Table(rows, look)
    lines, before = [], ""
    for row in rows:
        lines.append(table.line(row, host=row.host != before))
        before = row.host
    return lines
