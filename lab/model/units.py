"""Sizes and durations as people write them: ``8GiB``, ``512MiB``, ``30d``, ``10m``."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMGT]i?B|B)\s*$")
_FACTOR = {
    "B": 1,
    **{f"{p}iB": 1024 ** (i + 1) for i, p in enumerate("KMGT")},
    **{f"{p}B": 1000 ** (i + 1) for i, p in enumerate("KMGT")},
}
_DURATION = re.compile(r"^(\d+)\s*(s|m|h|d|w)$")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_size(value: Any) -> int:
    """Bytes from ``"8GiB"`` or ``"1.5TB"``. Raises ValueError, saying what to write."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError(f"a size needs its unit: write {value}GiB or {value}MiB")  # noqa: TRY004
    match = _SIZE.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a size: write it like 8GiB, 512MiB or 1.5TiB")
    size = int(Decimal(match[1]) * _FACTOR[match[2]])  # a float would round large ones
    if size <= 0:
        raise ValueError("a size is more than nothing")
    return size


def parse_duration(value: Any) -> int:
    """Seconds from ``"30d"``, ``"10m"`` or ``"daily"``. Raises ValueError, saying what to write."""
    words = {"hourly": 3600, "daily": 86400, "weekly": 604800}
    if isinstance(value, str) and value in words:
        return words[value]
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration: write it like 90s, 10m, 24h, 30d or daily")
    return int(match[1]) * _SECONDS[match[2]]


def show_size(size: int) -> str:
    """The shortest exact binary form (``"8GiB"``), else one with a decimal (``"1.4GiB"``)."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= _FACTOR[unit]:
            whole, rest = divmod(size, _FACTOR[unit])
            return f"{whole}{unit}" if rest == 0 else f"{size / _FACTOR[unit]:.1f}{unit}"
    return f"{size}B"


def show_size_exact(size: int) -> str:
    """Like :func:`show_size`, but never rounded: falls back to bytes."""
    text = show_size(size)
    return text if "." not in text else f"{size}B"


def _size(value: Any) -> Any:
    return value if isinstance(value, ParsedSize) else ParsedSize(parse_size(value))


class ParsedSize(int):
    """Bytes that have been through :func:`parse_size` once."""


Size = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(show_size_exact, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d+(\.\d+)?\s*([KMGT]i?B|B)$", "examples": ["8GiB"]}
    ),
]
"""A field that holds bytes and is written with its unit; JSON keeps it exact."""

Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(lambda v: f"{v}s", return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["10m", "30d", "daily"]}),
]
"""A field that holds seconds and is written with its unit."""
