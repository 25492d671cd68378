"""The picture of a run while it goes on: events in, rows out.

A :class:`Board` costs the same for every event, and its picture the same for ten hosts as for ten
thousand: only rows that fit are ever looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from lab import events
from lab.cli.text.look import Look, clean_lines, fit, line, plural, show_seconds
from lab.cli.text.rows import Row, Table, ended_row
from lab.model.outcome import Outcome, PartReport

Key = tuple[str, str, str]


@dataclass
class Running:
    """One part at work."""

    driver: str
    since: float
    doing: str = ""
    done: int | None = None
    total: int | None = None
    step: str = ""


class Board:
    """What has ended, what runs, what was said."""

    def __init__(self, titles: dict[str, str] | None = None) -> None:
        self.titles = titles or {}
        self.verb = ""
        self.hosts = 0
        self.since: float | None = None
        self.running: dict[Key, Running] = {}
        self.ended: list[PartReport] = []
        self.bad: list[PartReport] = []
        self.changed = 0
        self.through: set[str] = set()
        self.notices: list[str] = []
        self.stopping = False
        self.awaited: tuple[str, float] | None = None
        self._last_layer = ""

    def see(self, event: events.Event) -> None:
        """Take in one event."""
        match event:
            case events.RunStarted():
                self.verb, self.hosts, self.since = event.verb, len(event.hosts), event.at
                self._last_layer = event.layers[-1] if event.layers else ""
                self.awaited = None
            case events.LockAwaited():
                self.awaited = (event.holder, event.at - event.seconds)
            case events.PartStarted():
                key = (event.host, event.layer, event.part)
                self.running[key] = Running(event.driver, event.at, "looking")
                self.through.discard(event.host)
            case events.PartPlanned() | events.ChangeStarted() | events.Progress():
                self._goes_on(event)
            case events.ChangeEnded():
                self._idle((event.host, event.layer, event.part))
            case events.PartEnded():
                self._ends(event.report)
            case events.Notice():
                said = f"{event.host}: {event.text}" if event.host else event.text
                self.notices.append(clean_lines(said)[0])
            case _:
                pass

    def _goes_on(self, event: events.PartPlanned | events.ChangeStarted | events.Progress) -> None:
        row = self.running.get((event.host, event.layer, event.part))
        if row is None:
            return
        match event:
            case events.PartPlanned():
                count = len(event.plan.changes)
                row.doing = f"{plural(count, 'change')} planned" if count else "as declared"
            case events.ChangeStarted():
                row.step = f" ({event.index}/{event.count})" if event.count > 1 else ""
                row.doing = f"{event.change.action.sign} {event.change.what}"
                row.done = row.total = None
            case events.Progress():
                row.doing, row.done, row.total = event.doing, event.done, event.total

    def _idle(self, key: Key) -> None:
        row = self.running.get(key)
        if row is not None:
            row.doing, row.done, row.total, row.step = "looking again", None, None, ""

    def _ends(self, report: PartReport) -> None:
        self.running.pop((report.host, report.layer, report.part), None)
        self.ended.append(report)
        self.changed += len(report.applied)
        if not report.outcome.is_good:
            self.bad.append(report)
        if report.layer == self._last_layer or not report.outcome.is_good:
            self.through.add(report.host)

    def picture(self, look: Look, height: int, now: float) -> list[Text]:
        """The rows that fit: what ended above, what runs last, one line about all of it."""
        room = max(height - 2, 2)
        running = sorted(self.running.items(), key=lambda item: item[1].since)
        shown = running[: max(room // 2, room - len(self.ended) - 1, 1)]
        hidden = len(running) - len(shown)
        above = self._above(max(room - len(shown) - bool(hidden), 0), look)
        rows = [
            *(r for r in above if isinstance(r, Row)),
            *(self._row(key, row, look, now) for key, row in shown),
        ]
        table = Table(rows, look)
        lines = [table.line(r) if isinstance(r, Row) else line(("  " + r, "dim")) for r in above]
        lines += [table.line(self._row(key, row, look, now)) for key, row in shown]
        if hidden:
            lines.append(line((f"  {look.signs.more} and {hidden} more at work", "dim")))
        return [*lines, self._foot(look, now)]

    def _above(self, room: int, look: Look) -> list[Row | str]:
        """Rows of what has ended, or as many as there is room for and a line for the rest."""
        if len(self.ended) <= room:
            return [ended_row(p, look, self.titles, self.verb) for p in self.ended]
        if room == 0:
            return []
        bad = self.bad[-(room - 1) :] if room > 1 else []
        kept = room - 1 - len(bad)
        latest = [p for p in self.ended[-kept:] if p.outcome.is_good] if kept else []
        rest = len(self.ended) - len(bad) - len(latest)
        told = f"{plural(rest, 'step')} done before"
        return [told, *(ended_row(p, look, self.titles, self.verb) for p in [*bad, *latest])]

    def _row(self, key: Key, row: Running, look: Look, now: float) -> Row:
        host, layer, part = key
        spin = look.signs.spin[int(now * 8) % len(look.signs.spin)]
        return Row(
            sign=(spin, "bold cyan"),
            host=host,
            layer=layer,
            part=part,
            driver=row.driver,
            text=clean_lines(row.doing)[0] + row.step,
            took=now - row.since,
            done=row.done,
            total=row.total,
            titles=self.titles,
        )

    def _foot(self, look: Look, now: float) -> Text:
        if self.awaited is not None:
            holder, since = self.awaited
            waited = f" {look.signs.dot} {show_seconds(max(0.0, now - since))}"
            room = look.width - len(waited) - 2
            return line(("  " + fit(f"waits for {holder}", room, look.signs.more) + waited, "dim"))
        elapsed = show_seconds(max(0.0, now - self.since)) if self.since is not None else ""
        dot = f" {look.signs.dot} "
        facts = [f"{len(self.through):,} of {plural(self.hosts, 'host')} done"]
        if self.changed:
            facts.append(plural(self.changed, "change"))
        failed = sum(p.outcome in {Outcome.FAILED, Outcome.REVERTED} for p in self.bad)
        if failed:
            facts.append(f"{failed} failed")
        if self.stopping:
            facts.append("stopping after the current step")
        return line(("  " + dot.join([*facts, elapsed]), "dim"))
