"""Values that were decrypted in this process, and their disappearance from everything written.

Whoever decrypts a value calls :func:`hide`; whatever writes text (a screen, JSON, the journal, a
file, an error) passes it through :func:`mask` first. A value is found as it is and as programs
write it: base64 at every alignment, URL-quoted, JSON-escaped, quoted for a shell, hexadecimal.
Nothing hidden costs one comparison. Values of fewer than four characters are hidden only where they
stand alone, a single character never: hiding every "a" would tell more than it hides.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

SHORT = 4
"""Shorter values are hidden as whole words only."""
_LINE = 8  # a line of a value with several lines that is long enough to be hidden by itself
_OWN_KEY = re.compile(r"^[a-z_]+$")  # the names of fields, which readers rely on
_WRAPS = (64, 70, 76)  # where programs break lines of base64
_lock = threading.Lock()
_names: dict[str, str] = {}  # value -> the name that stands in its place
_needles: tuple[tuple[str, str], ...] = ()  # text to be found -> what replaces it, longest first
_starts: frozenset[str] = frozenset()  # how they begin: most texts hold none of these
_words: re.Pattern[str] | None = None


def hide(value: str, name: str) -> None:
    """From now on ``value`` is written as ``(secret NAME)``, by every thread."""
    global _needles, _starts, _words  # noqa: PLW0603 (one registry a process is the point)
    with _lock:
        if value in _names or len(value) <= 1:
            return
        _names[value] = name
        mark = f"(secret {name})"
        found = dict(_needles)
        if len(value) >= SHORT:
            for needle in _forms(value):
                found.setdefault(needle, mark)
            _starts = frozenset(needle[:SHORT] for needle in found)
            _needles = tuple(sorted(found.items(), key=lambda item: -len(item[0])))
        else:
            short = "|".join(re.escape(v) for v in _names if len(v) < SHORT)
            _words = re.compile(rf"(?<![\w.-])(?:{short})(?![\w.-])")


def forget() -> None:
    """Drop all of it (tests)."""
    global _needles, _starts, _words
    with _lock:
        _names.clear()
        _needles, _starts, _words = (), frozenset(), None


def mask(text: str) -> str:
    """The text with ``(secret NAME)`` wherever a hidden value stood, in whatever form."""
    if _needles and not _starts.isdisjoint([text[i : i + SHORT] for i in range(len(text))]):
        for needle, mark in _needles:
            if needle in text:
                text = text.replace(needle, mark)
    if _words is not None:
        text = _words.sub(lambda found: f"(secret {_names[found[0]]})", text)
    return text


def hides(text: str) -> bool:
    """Whether a value stands in it, or stood there before it was masked."""
    return any(f"(secret {name})" in text for name in _names.values()) or mask(text) != text


def masked(value: Any) -> Any:
    """The same JSON value with every text in it masked, but for the names of fields."""
    if not _names:
        return value
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {_key(k): masked(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(v) for v in value]
    return value


def _key(key: Any) -> Any:
    return mask(key) if isinstance(key, str) and not _OWN_KEY.match(key) else key


def _forms(value: str) -> set[str]:
    """Every text that gives the value away."""
    bodies = {value, value.strip()}
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) > 1:
        bodies |= {li for li in lines if len(li) >= _LINE and not li.startswith("-----")}
    forms = {form for body in bodies if len(body) >= SHORT for form in _written(body)}
    return {form for form in forms if len(form) >= SHORT}


def _written(text: str) -> Iterator[str]:
    """One text as programs write it."""
    raw = text.encode(errors="surrogateescape")
    yield text
    for inner in _escaped(text):
        yield inner
        yield from _escaped(inner)  # JSON in JSON, a shell line in JSON
    for quoted in (
        urllib.parse.quote(text, safe="", errors="surrogateescape"),
        urllib.parse.quote(text, errors="surrogateescape"),
        urllib.parse.quote_plus(text, errors="surrogateescape"),
    ):
        yield quoted
        yield re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)
    yield raw.hex()
    yield raw.hex().upper()
    yield raw.hex(" ")
    yield raw.hex(":")
    yield from _base64(raw)


def _escaped(text: str) -> Iterator[str]:
    """As a JSON, YAML, Python, HTML or shell string, without the quotes around it."""
    for ascii_only in (True, False):
        yield json.dumps(text, ensure_ascii=ascii_only)[1:-1]
    inner = json.dumps(text, ensure_ascii=False)[1:-1]
    yield inner.replace("/", "\\/")
    yield "".join(f"\\u{ord(c):04x}" if c in "<>&" else c for c in inner)  # as Go writes it
    yield repr(text)[1:-1]
    from html import escape  # noqa: PLC0415 (a lab without secrets has nothing to hide)

    yield escape(text)
    yield shlex.quote(text).strip("'")
    yield text.replace("'", "'\\''")
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", text)


def _base64(raw: bytes) -> Iterator[str]:
    """The characters that depend on nothing but the value, whatever stands before and after it."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw).decode()
        bits = 8 * (before + len(raw))
        inside = whole[-(-8 * before // 6) : bits // 6]
        yield inside
        yield inside.replace("+", "-").replace("/", "_")
    whole = base64.b64encode(raw).decode().rstrip("=")
    for width in _WRAPS:
        lines = [whole[at : at + width] for at in range(0, len(whole), width)]
        yield from lines[:-1]
        if len(lines[-1]) > _LINE:
            yield lines[-1]
