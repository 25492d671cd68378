"""A line of a crontab, read as cron reads it, and the same times as systemd writes them."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = tuple(name.lower() for name in calendar.month_abbr)  # the first is ""
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_STARRED = re.compile(r"^\*(/\d+)?$")
_LONGEST_MONTHS = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 7, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """One job: when, as whom, and what.

    ``text`` is the line as it was written; ``calendars`` are the times for ``OnCalendar``.
    """

    text: str
    calendars: tuple[str, ...]
    user: str
    command: str


@dataclass(frozen=True, slots=True)
class Times:
    """The five fields of a line as sets of numbers; ``weekdays``: 0 is Sunday, there is no 7.

    ``either``: a day counts if its number or its weekday fits, otherwise both must.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool


def read(value: Any) -> Cron:
    """The job that a line of /etc/crontab says. Raises ValueError in plain words."""
    if isinstance(value, Cron):
        return value
    if not isinstance(value, str):
        raise ValueError('a line of a crontab is expected here: "30 3 * * * root command"')  # noqa: TRY004
    words = value.split()
    count = 1 if value.lstrip().startswith("@") else 5
    if len(words) < count + 2:
        raise ValueError(f"{value!r} needs its times, a user and a command: 30 3 * * * root true")
    parts = value.split(maxsplit=count + 1)
    when, user, command = " ".join(parts[:count]), parts[count], parts[count + 1].strip()
    if re.search(r"(?<!\\)%", command):
        raise ValueError(r"a % ends a command in a crontab: write \%, or take timers")
    if not command.isprintable():
        raise ValueError("a command is one line")
    return Cron(value, calendars(when), user, command.replace(r"\%", "%"))


CronLine = Annotated[
    Cron,
    BeforeValidator(read),
    WithJsonSchema({"type": "string", "examples": ["30 3 * * * root /usr/local/bin/x"]}),
]


def times(when: str) -> Times:
    """The times of five fields, or of a word like ``@daily``. Raises ValueError."""
    if when == "@reboot":
        raise ValueError("@reboot is no time: declare a unit that multi-user.target wants")
    if when.startswith("@") and when not in _WORDS:
        raise ValueError(f"{when!r} is not known (known: {', '.join(_WORDS)})")
    fields = _WORDS.get(when, when).split()
    minutes, hours, days, months, weekdays = (
        _numbers(text, field) for text, field in zip(fields, _FIELDS, strict=True)
    )
    stars = [fields[i].startswith("*") for i in (2, 4)]  # cron: */2 counts as a star too
    found = Times(minutes, hours, days, months, frozenset(d % 7 for d in weekdays), not any(stars))
    longest = max(_LONGEST_MONTHS[m] for m in months)
    if not found.either and min(days) > longest:
        raise ValueError(f"{when!r} never comes: there is no such day in those months")
    return found


def calendars(when: str) -> tuple[str, ...]:
    """The same times for systemd: one expression, or two where either of two days counts."""
    t = times(when)
    clock = f"{_listed(t.hours, _FIELDS[1])}:{_listed(t.minutes, _FIELDS[0])}:00"
    every = frozenset(range(1, 32))
    dates = [f"*-{_listed(t.months, _FIELDS[3])}-{_listed(d, _FIELDS[2])}" for d in (t.days, every)]
    week = _weekdays(t.weekdays)
    if not t.either:
        return (f"{week}{dates[0]} {clock}",)
    both = (f"{dates[0]} {clock}", f"{week}{dates[1]} {clock}")
    possible = min(t.days) <= max(_LONGEST_MONTHS[m] for m in t.months)
    return both if possible else both[1:]


def _numbers(text: str, field: _Field) -> frozenset[int]:
    found: set[int] = set()
    for item in text.split(","):
        span, slash, step = item.partition("/")
        if slash and (not step.isdigit() or int(step) == 0):
            raise ValueError(f"{item!r} is not a {field.name}: a step is a number, like */5")
        low, dash, high = span.partition("-")
        if span == "*":
            first, last = field.low, field.high
        elif slash and not dash:
            raise ValueError(f"{item!r} is not a {field.name}: a step needs a range, like */5")
        else:
            first = _number(low, field)
            last = _number(high, field) if dash else first
        if first > last:
            raise ValueError(f"{item!r} is not a {field.name}: {low} comes after {high}")
        found.update(range(first, last + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, field: _Field) -> int:
    if text.lower() in field.names and text:
        return field.names.index(text.lower())
    if not text.isascii() or not text.isdigit() or not field.low <= int(text) <= field.high:
        raise ValueError(f"{text!r} is not a {field.name}: {field.low} to {field.high}")
    return int(text)


def _listed(numbers: frozenset[int], field: _Field) -> str:
    """``*``, ``05``, ``01..05,10``."""
    if len(numbers) == field.high - field.low + 1:
        return "*"
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return ",".join(
        f"{s[0]:02}..{s[-1]:02}" if len(s) > 2 else ",".join(f"{n:02}" for n in s)  # noqa: PLR2004
        for s in spans
    )


def _weekdays(days: frozenset[int]) -> str:
    if len(days) == 7:  # noqa: PLR2004
        return ""
    return ",".join(_DAYS[d].title() for d in sorted(days, key=lambda d: (d - 1) % 7)) + " "


def shell_line(command: str) -> str:
    """``ExecStart`` that lets a shell run a command, whatever characters it holds."""
    text = command
    for special, written in (("\\", r"\\"), ('"', r"\""), ("%", "%%"), ("$", "$$"), ("\t", r"\t")):
        text = text.replace(special, written)
    return f'/bin/sh -c "{text}"'
