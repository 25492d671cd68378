"""A value explained: what it is, who says so, what it beats, when it last acted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from lab.cli.text.look import Look, fit, line, prose, title_of
from lab.cli.text.plans import change_lines
from lab.cli.text.values import show_value
from lab.model.plan import JSON

if TYPE_CHECKING:
    from lab.api.why import Said, Why

_ROLES = {
    "counts": ("counts", "bold green"),
    "adds": ("adds", "green"),
    "overridden": ("overridden", "dim"),
    "removes": ("removed here", "red"),
}


def why_lines(why: Why, look: Look, titles: dict[str, str]) -> list[Text]:
    """The value, then each place that says something of it, then the last change."""
    lines = [
        line((why.path, "cyan"), f" of {why.host}: ", (_value(why.value, look), "bold")),
        Text(),
    ]
    for said in why.said:
        lines += _said(said, look)
    if not why.said:
        lines.append(line("  It is written in no file: it follows from the others."))
    lines.append(Text())
    return [*lines, *_last(why, look, titles)]


def _said(said: Said, look: Look) -> Iterator[Text]:
    word, style = _ROLES[said.role]
    candidate = said.candidate
    yield line("  ", (str(candidate.place), "bold"), f"  {candidate.source}  ", (word, style))
    if said.role != "removes":
        yield line("    ", (fit(_value(candidate.value, look), look.width - 4, look.signs.more),
                            "dim" if said.role == "overridden" else ""))  # fmt: skip
    commit = said.written.commit
    if commit is None:
        yield line("    ", (said.written.why, "yellow"))
        return
    day = datetime.fromtimestamp(commit.at, UTC).astimezone().strftime("%Y-%m-%d")
    text = f"{commit.id}  {day}  {commit.author}: {commit.subject}"
    yield line("    ", (fit(text, look.width - 4, look.signs.more), "dim"))


def _last(why: Why, look: Look, titles: dict[str, str]) -> Iterator[Text]:
    if why.touched is None or why.run is None:
        where = f" on {title_of(why.layer, titles)}" if why.layer else ""
        yield from prose(f"The journal of this machine knows no change{where} of it.", look, 0)
        return
    past = why.touched.change
    which = "that names it" if why.named else f"of {title_of(past.layer, titles)} (none names it)"
    ended = {True: "done", False: "failed", None: "its end is unknown"}[past.ok]
    at = datetime.fromtimestamp(past.started, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    run = why.run.run.rpartition("-")[2]
    yield from prose(f"Last change {which}: {at}, {ended}, by {why.run.who}, run {run}", look, 0)
    yield from change_lines(past.change, look, 2)


def _value(value: Any, look: Look) -> str:
    return fit(show_value(plain(value)), look.width * 2, look.signs.more)


def plain(value: Any) -> JSON:
    """JSON values; what is none (a secret) as its own text."""
    return json.loads(json.dumps(value, default=str))  # type: ignore[no-any-return]
