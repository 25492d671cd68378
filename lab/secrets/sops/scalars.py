"""Plain scalars of YAML as upstream SOPS reads them (go-yaml 3), and scalars as it hashes them."""

from __future__ import annotations

import math
import re
from datetime import date
from decimal import Decimal
from typing import Any

from lab.secrets.sops.tree import Timestamp

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_INT = re.compile(r"^([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)$")
_LONGEST = 400  # characters of a number
_TIME = re.compile(
    r"^(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:([Tt ])(\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,](\d+))?(Z|[-+]\d\d:\d\d)?)?$",
    re.ASCII,
)


class UnfitError(ValueError):
    """A number that SOPS has no type for."""


def resolve(text: str) -> Any:
    """What an unquoted scalar means. Raises UnfitError for an integer beyond 64 bits."""
    if text in _WORDS:
        return _WORDS[text]
    if not text or text[0] not in "+-.0123456789" or len(text) > _LONGEST:
        return text
    if text[0] == ".":
        return float(text) if _FLOAT.match(text) else text
    return _number(text)


def _number(text: str) -> Any:
    time = _timestamp(text)
    if time is not None:
        return time
    digits = text.replace("_", "")
    whole = _INT.match(digits)
    number = _integer(whole[1], whole[2].lower()) if whole else None
    if number is not None and INT_MIN <= number <= INT_MAX:
        return number
    if number is not None and 0 < number <= 2 * INT_MAX + 1:
        raise UnfitError("this number does not fit into 64 bits: write it in quotes")
    decimal = float(digits) if _FLOAT.match(digits) else math.inf
    return text if math.isinf(decimal) else decimal


def _integer(sign: str, digits: str) -> int:
    base = {"0x": 16, "0b": 2, "0o": 8}.get(digits[:2])
    if base is not None:
        number = int(digits[2:], base)
    else:
        number = int(digits, 8 if digits[0] == "0" and len(digits) > 1 else 10)
    return -number if sign == "-" else number


def _timestamp(text: str) -> Timestamp | None:
    found = _TIME.match(text)
    if found is None:
        return None
    year, month, day, mark, hour, minute, second, fraction, zone = found.groups()
    if mark is not None and (zone is None) != (mark == " "):
        return None
    try:
        day_text = date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None
    clock = [int(v or 0) for v in (hour, minute, second)]
    if clock[0] > 23 or clock[1] > 59 or clock[2] > 59:  # noqa: PLR2004 (a clock's)
        return None
    part = (fraction or "")[:9].rstrip("0")
    shown = f"{clock[0]:02}:{clock[1]:02}:{clock[2]:02}{'.' if part else ''}{part}"
    zone = "Z" if zone in {None, "+00:00", "-00:00"} else zone
    return Timestamp(f"{day_text}T{shown}{zone}")


def as_bytes(value: Any) -> bytes:
    """A scalar as SOPS hashes and encrypts it: ``True``, ``1``, ``1000000000000000000000``."""
    if isinstance(value, bool):
        return b"True" if value else b"False"
    if isinstance(value, float):
        return _decimal(value).encode()
    return str(value).encode()


def _decimal(value: float) -> str:
    """Without an exponent, and with no digit more than it takes."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
