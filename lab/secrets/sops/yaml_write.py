"""A tree as YAML in the style of SOPS: blocks, comments above their item or at its line's end."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from lab.secrets.sops.scalars import UnfitError, resolve
from lab.secrets.sops.tree import Branch, Comment, Item, Timestamp

_NOT_PLAIN = re.compile(r"^[][?:,{}#&*!|>'\"%@`]|^-(\s|$)|^---|^\.\.\.|:(\s|$)|\s#|^\s|\s$")
_ENCRYPTED = re.compile(r"^ENC\[AES256_GCM,[A-Za-z0-9_+/=:,]*\]$")
_OLD_WORDS = re.compile(r"^(y|n|yes|no|on|off|null|true|false|=|<<)$", re.IGNORECASE)
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")
_BLOCK = re.compile("^[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]*$")


def emit(branch: Branch, indent: int = 4) -> str:
    """The text; parsing it gives the same tree."""
    return "".join(f"{line}\n" for line in _Writer(indent).branch(branch, "")) or "{}\n"


class _Writer:
    def __init__(self, indent: int) -> None:
        self._indent = indent

    def _deeper(self, margin: str) -> str:
        """The next multiple of the indent: what stands in a list is two columns further in."""
        return " " * (self._indent * (len(margin) // self._indent + 1))

    def branch(self, branch: Branch, margin: str) -> Iterator[str]:
        """The lines of a mapping."""
        for entry, tail in _with_tails(branch.entries):
            if isinstance(entry, Comment):
                yield f"{margin}#{_one_line(entry.text)}"
            elif isinstance(entry, Item):
                yield from self._value(f"{margin}{_key(entry.key)}:", entry.value, margin, tail)

    def _value(self, head: str, value: Any, margin: str, tail: str) -> Iterator[str]:
        if isinstance(value, Branch) and value.items:
            yield f"{head}{tail}"
            yield from self.branch(value, self._deeper(margin))
        elif isinstance(value, list) and any(not isinstance(v, Comment) for v in value):
            yield f"{head}{tail}"
            yield from self._list(value, self._deeper(margin))
        else:
            first, *rest = _scalar(value)
            yield f"{head} {first}{tail}"
            inner = self._deeper(margin)
            yield from (f"{inner}{line}" if line else "" for line in rest)

    def _list(self, values: list[Any], margin: str) -> Iterator[str]:
        for value, tail in _with_tails(values):
            if isinstance(value, Comment):
                yield f"{margin}#{_one_line(value.text)}"
                continue
            if isinstance(value, Branch) and value.items:
                lines = list(self.branch(value, margin + "  "))
            elif isinstance(value, list) and any(not isinstance(v, Comment) for v in value):
                lines = list(self._list(value, margin + "  "))
            else:
                first, *rest = _scalar(value)
                yield f"{margin}- {first}{tail}"
                inner = self._deeper(margin)
                yield from (f"{inner}{line}" if line else "" for line in rest)
                continue
            # comments above the first item stand above the dash
            while lines[0].lstrip().startswith("#"):
                yield f"{margin}{lines.pop(0).lstrip()}"
            yield f"{margin}- {lines[0].lstrip()}"
            yield from lines[1:]


def _with_tails(entries: list[Any]) -> Iterator[tuple[Any, str]]:
    """Every entry, an item with the inline comment that stands before it at its line's end."""
    tail = ""
    for index, entry in enumerate(entries):
        if isinstance(entry, Comment) and entry.inline and not tail:
            nexts = entries[index + 1] if index + 1 < len(entries) else None
            value = nexts.value if isinstance(nexts, Item) else nexts
            if nexts is not None and not isinstance(nexts, Comment) and _on_one_line(value):
                tail = f" #{_one_line(entry.text)}"
                continue
        yield entry, tail
        tail = ""


def _on_one_line(value: Any) -> bool:
    return not isinstance(value, (Branch, list)) and len(_scalar(value)) == 1


def _one_line(text: str) -> str:
    return _UNPRINTABLE.sub(" ", " ".join(text.splitlines()))


def _key(key: str) -> str:
    return key if _is_plain(key) and len(key) < 128 else _quoted(key)  # noqa: PLR2004 (YAML's own)


def _scalar(value: Any) -> list[str]:
    """Its lines, the first one to stand behind the key."""
    if value is None:
        return ["null"]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, float):
        return [_number(value)]
    if isinstance(value, (int, Timestamp)):
        return [str(value)]
    if isinstance(value, Branch):
        return ["{}"]
    if isinstance(value, list):
        return ["[]"]
    text = str(value)
    if _ENCRYPTED.match(text) or _is_plain(text):
        return [text]
    return _block(text) or [_quoted(text)]


def _is_plain(text: str) -> bool:
    if not text or not text.isprintable() or max(text) > "\uffff":
        return False
    return not _NOT_PLAIN.search(text) and not _means_more(text)


def _means_more(text: str) -> bool:
    """Whether it would be no text without quotes, here or in another program."""
    if _OLD_WORDS.match(text):
        return True
    try:
        value = resolve(text)
    except UnfitError:
        return True
    return not isinstance(value, str) or isinstance(value, Timestamp)


def _number(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    return repr(value)


def _block(text: str) -> list[str]:
    """A text of several lines as it is, below ``|``; nothing where that would change it."""
    lines = text.split("\n")
    body = text.rstrip("\n")
    if len(lines) == 1 or not body or not _BLOCK.match(text):
        return []
    if text[0] in " \t\n" or any(line != line.rstrip() or "\t" in line[:1] for line in lines):
        return []
    ends = len(text) - len(body)
    head = {0: "|-", 1: "|"}.get(ends)
    return [head, *body.split("\n")] if head else []


def _quoted(text: str) -> str:
    """In single quotes where that is enough, as SOPS does it."""
    if text and not _means_more(text) and text.isprintable():
        return "'" + text.replace("'", "''") + "'"

    def escaped(found: re.Match[str]) -> str:
        code = ord(found[0])
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 (a byte)

    return _UNPRINTABLE.sub(escaped, json.dumps(text, ensure_ascii=False))
