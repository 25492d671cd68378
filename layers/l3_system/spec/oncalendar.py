"""Times as systemd writes them: enough of systemd.time(7) to catch what cannot be meant.

The host has the last word: ``systemd-analyze calendar`` is asked before a timer is written.
"""

from __future__ import annotations

import re

_WORDS = (
    "minutely|hourly|daily|weekly|monthly|quarterly|yearly|semi-?annually|annually|"
    "bi-?annually|anually"
)
_DAY = (
    "(?:mon(?:day)?|tue(?:sday)?|wed(?:nesday)?|thu(?:rsday)?|"
    "fri(?:day)?|sat(?:urday)?|sun(?:day)?)"
)
_DAYS = rf"{_DAY}(?:(?:\.\.|-|,){_DAY})*,?"
_VALUE = r"(?:\*|\d+(?:\.\.\d+)?)(?:/\d+)?"
_LIST = rf"{_VALUE}(?:,{_VALUE})*"
_DATE = rf"(?:{_LIST}-)?{_LIST}[-~]{_LIST}"
_SECOND = r"(?:\*|\d+(?:\.\d+)?(?:\.\.\d+(?:\.\d+)?)?)(?:/\d+(?:\.\d+)?)?"
_TIME = rf"{_LIST}:{_LIST}(?::{_SECOND}(?:,{_SECOND})*)?"
_ZONE = r"UTC|[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)+"
_WHOLE = re.compile(
    rf"^(?:{_WORDS}|(?=\S)(?:{_DAYS}(?=\s|$)\s*)?(?:{_DATE}(?=\s|$)\s*)?(?:{_TIME})?)"
    rf"(?:\s+(?:{_ZONE}))?$",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(?:^|\s)(\d+):(\d+)(?::(\d+))?")
_LIMITS = (23, 59, 59)


def checked(value: str) -> str:
    """The expression. Raises ValueError, saying what to write."""
    text = value.strip()
    if not text or not _WHOLE.match(text):
        raise ValueError(
            f"{value!r} is not a time of systemd: write it like daily, 03:30, Mon *-*-* 04:00"
        )
    for match in _CLOCK.finditer(text):
        for part, limit in zip(match.groups(), _LIMITS, strict=True):
            if part is not None and int(part) > limit:
                raise ValueError(f"{value!r} has no such time of the day: {match[0].strip()}")
    return text
