"""Writing YAML: new files for people to go on with, and lines added to files that are theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from lab.config.tree import Node, parse
from lab.model.secret import SecretName

_PLAIN = re.compile(r"^(?:[A-Za-z/_.][A-Za-z0-9/_.@+-]*|\d+(?:\.\d+){3}(?:/\d+)?)$")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"}
_WIDTH = 96


class _Writer(yaml.SafeDumper):
    """Plain words as they are, other strings in double quotes: no reader takes them otherwise."""


def _string(writer: _Writer, text: str) -> yaml.Node:
    plain = _PLAIN.match(text) and text.lower() not in _WORDS and text != "."
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


def _secret(writer: _Writer, secret: SecretName) -> yaml.Node:
    return writer.represent_scalar("!secret", secret.name)


_Writer.add_representer(str, _string)
_Writer.add_representer(SecretName, _secret)


def block(value: Mapping[str, Any]) -> str:
    """A mapping as lines; what holds nothing but plain values stands on one line."""
    return _lines(value, "")


def _lines(value: Mapping[str, Any], indent: str) -> str:
    out = []
    for key, item in value.items():
        name = inline(key)
        if isinstance(item, dict) and item and not _fits(item, indent):
            out.append(f"{indent}{name}:\n{_lines(item, f'{indent}  ')}")
        elif isinstance(item, list) and len(item) > 1 and not _short(item, indent):
            rows = "".join(f"{indent}  - {inline(i)}\n" for i in item)
            out.append(f"{indent}{name}:\n{rows}")
        else:
            out.append(f"{indent}{name}: {inline(item)}\n")
    return "".join(out)


def _fits(item: Mapping[str, Any], indent: str) -> bool:
    flat = not any(isinstance(v, dict) for v in item.values())
    return flat and len(indent) > 0 and _short(item, indent)


def _short(item: Any, indent: str) -> bool:
    return len(inline(item)) + len(indent) < _WIDTH - 20


def inline(value: Any) -> str:
    """A value on one line."""
    text = yaml.dump(
        value, Dumper=_Writer, default_flow_style=True, sort_keys=False, width=1_000_000,
        allow_unicode=True,
    )  # fmt: skip
    return text.removesuffix("\n").removesuffix("\n...")


def with_key(text: str, name: str, section: str, key: str, lines: str) -> str | None:
    """The text with one more entry at the end of the mapping ``section``, all else byte for byte.

    ``lines`` are those of the entry, not indented. ``None``: the text is not written in a way that
    lines can be added to, or it would no longer say what it did.
    """
    before = _mapping(text, name, section)
    if not before or section not in text:
        return None
    tree, _ = parse(text, name)
    holder = tree.get(section) if tree is not None else None
    if holder is None or tree is None:
        return None
    first = min(holder.keys.values(), key=lambda place: (place.line, place.column))
    if first.line <= tree.keys[section].line or key in before:
        return None
    indent = " " * (first.column - 1)
    added = "".join(f"{indent}{line}\n" for line in lines.splitlines())
    rows = text.splitlines(keepends=True)
    at = _end(rows, tree, section, len(indent))
    head = "".join(rows[:at])
    after = f"{head}{'' if head.endswith(chr(10)) else chr(10)}{added}{''.join(rows[at:])}"
    now = _mapping(after, name, section)
    same = now is not None and {k: v for k, v in now.items() if k != key} == before
    return after if same and now is not None and key in now else None


def _end(rows: list[str], tree: Node, section: str, indent: int) -> int:
    """The index of the row after the last one of the section, comments that follow it left out."""
    last = tree.keys[section].line
    for number in range(tree.keys[section].line, len(rows)):
        row = rows[number]
        bare = row.strip()
        depth = len(row) - len(row.lstrip(" "))
        if bare and not bare.startswith("#"):
            if depth < indent:
                break
            last = number + 1
        elif bare and depth >= indent:
            last = number + 1
    return last


def _mapping(text: str, name: str, section: str) -> dict[str, Any] | None:
    tree, problems = parse(text, name)
    node = tree.get(section) if tree is not None and not problems else None
    if node is None or not isinstance(node.value, dict):
        return None
    value: dict[str, Any] = node.plain()
    return value
