"""Lines of a crontab become timers that elapse at the very same minutes."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.l3_system.spec import cron, oncalendar

DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def numbers(low, high, names=()):
    """Any field as cron takes it, in all its spellings."""
    number = st.integers(low, high).map(str)
    if names:
        number |= st.sampled_from(names)
    span = st.tuples(st.integers(low, high), st.integers(low, high)).map(
        lambda p: f"{min(p)}-{max(p)}"
    )
    step = st.integers(1, 40).map(lambda n: f"/{n}")
    stepped = st.builds("{}{}".format, span | st.just("*"), step)
    item = number | span | stepped | st.just("*")
    return st.just("*") | st.lists(item, min_size=1, max_size=3).map(",".join)


lines = st.tuples(
    numbers(0, 59),
    numbers(0, 23),
    numbers(1, 31),
    numbers(1, 12, ("jan", "Feb", "DEC")),
    numbers(0, 7, ("sun", "Mon", "SAT")),
).map(" ".join)
# local times, as cron and systemd mean them
moments = st.datetimes(dt.datetime(2023, 1, 1), dt.datetime(2033, 1, 1))  # noqa: DTZ001


def matches_field(text, value, low, high, names=()):
    """By the manual, one value after the other: crontab(5)."""
    for item in text.lower().split(","):
        span, _, step = item.partition("/")
        first, _, last = ("*", "", "") if span == "*" else span.partition("-")
        start = low if first == "*" else (names.index(first) if first in names else int(first))
        end = high if first == "*" else (int(last) if last else start)
        if value in range(start, end + 1, int(step or 1)):
            return True
    return False


def cron_matches(line, at):
    minute, hour, day, month, weekday = line.split()
    months = [
        "",
        *["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    ]
    days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
    sunday = at.isoweekday() % 7
    in_day = matches_field(day, at.day, 1, 31)
    in_week = any(
        matches_field(weekday, n, 0, 7, days) for n in ({0, 7} if sunday == 0 else {sunday})
    )
    starred = day.startswith("*") or weekday.startswith("*")
    return (
        matches_field(minute, at.minute, 0, 59)
        and matches_field(hour, at.hour, 0, 23)
        and matches_field(month, at.month, 1, 12, months)
        and ((in_day and in_week) if starred else (in_day or in_week))
    )


def calendar_matches(text, at):
    """systemd.time(7), as far as it is written here: lists, ranges, stars."""
    match = re.fullmatch(r"(?:([A-Z][A-Za-z,]*) )?\*-(\S+)-(\S+) (\S+):(\S+):00", text)
    assert match, text
    week, *rest = match.groups()
    values = [at.month, at.day, at.hour, at.minute]
    if week and DAYS[at.weekday()] not in week.split(","):
        return False
    for listed, value in zip(rest, values, strict=True):
        spans = [s.partition("..") for s in listed.split(",")]
        if listed != "*" and not any(int(a) <= value <= int(b or a) for a, _, b in spans):
            return False
    return True


def times_of(line):
    try:
        return cron.calendars(line)
    except ValueError as error:
        if "never comes" in str(error):
            return ()
        raise


@given(lines, st.lists(moments, min_size=20, max_size=20))
def test_at_the_same_minutes(line, some):
    calendars = times_of(line)
    for at in some:
        assert cron_matches(line, at) == any(calendar_matches(c, at) for c in calendars)


@settings(max_examples=20)
@given(lines)
def test_on_the_same_days_of_four_years(line):
    calendars = times_of(line)
    t = cron.times(line) if calendars else None
    at = dt.datetime(2024, 1, 1)  # noqa: DTZ001
    if t is not None:
        at = at.replace(hour=min(t.hours), minute=min(t.minutes))
    for day in range(4 * 366):
        moment = at + dt.timedelta(days=day)
        assert cron_matches(line, moment) == any(calendar_matches(c, moment) for c in calendars)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@settings(max_examples=15, deadline=None)
@given(lines)
def test_systemd_takes_them(line):
    for text in times_of(line):
        assert oncalendar.checked(text)
        subprocess.run(["systemd-analyze", "calendar", text], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("line", "calendars"),
    [
        ("30 3 * * *", ("*-*-* 03:30:00",)),
        ("@daily", ("*-*-* 00:00:00",)),
        ("@weekly", ("Sun *-*-* 00:00:00",)),
        ("0 0 13 * 5", ("*-*-13 00:00:00", "Fri *-*-* 00:00:00")),
        ("0 0 */2 * 5", ("Fri *-*-01,03,05,07,09,11,13,15,17,19,21,23,25,27,29,31 00:00:00",)),
        ("0 8-18 * jan-mar 1-5", ("Mon,Tue,Wed,Thu,Fri *-01..03-* 08..18:00:00",)),
        ("0 0 31 2 1", ("Mon *-02-* 00:00:00",)),
    ],
)
def test_cases(line, calendars):
    assert cron.calendars(line) == calendars


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("60 * * * * root x", "'60' is not a minute: 0 to 59"),
        ("* * 0 * * root x", "'0' is not a day: 1 to 31"),
        ("* * * foo * root x", "'foo' is not a month"),
        ("5-1 * * * * root x", "5 comes after 1"),
        ("*/0 * * * * root x", "a step is a number"),
        ("1/2 * * * * root x", "a step needs a range"),
        ("* * * * root", "needs its times, a user and a command"),
        ("0 0 30 2 * root x", "never comes"),
        ("@reboot root x", "no time"),
        ("@dayly root x", "not known"),
        ("* * * * * root date +%F", "a % ends a command"),
        ("² * * * * root x", "not a minute"),
    ],
)
def test_a_bad_line_is_told(line, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        cron.read(line)


def test_a_command_keeps_its_characters():
    job = cron.read(r"@daily  root   echo  'a  b' \%d")
    assert (job.user, job.command) == ("root", "echo  'a  b' %d")
    assert cron.shell_line('a "$HOME" \\ %d') == r'/bin/sh -c "a \"$$HOME\" \\ %%d"'


@pytest.mark.parametrize(
    "text", ["daily", "03:30", "Mon..Fri 10:00", "*-*-01", "*:0/15", "hourly UTC", "*-02~01"]
)
def test_times_of_systemd(text):
    assert oncalendar.checked(text) == text


@pytest.mark.parametrize("text", ["", "dayly", "25:00", "12:60", "Mon Tue", "daily; rm", "$(id)"])
def test_what_is_no_time_of_systemd(text):
    with pytest.raises(ValueError, match=r"time of systemd|no such time"):
        oncalendar.checked(text)
