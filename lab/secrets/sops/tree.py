"""A document as SOPS sees it: ordered mappings and lists, with the comments between their items."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lab.errors import ConfigError, Problem

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_VALUES = 20_000


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment without its ``#``; an inline one stands before the item whose line it ends."""

    text: str
    inline: bool = False


class Timestamp(str):
    """A time that YAML wrote without quotes, as RFC 3339."""

    __slots__ = ()


@dataclass(slots=True)
class Item:
    """A key and its value; ``where`` is ``"line:column"`` of the key, ``""`` where unknown."""

    key: str
    value: Any
    where: str = ""


@dataclass(slots=True)
class Branch:
    """A mapping: items and comments in the order they were written.

    A list is a Python list of values and comments; anything else is a scalar.
    """

    entries: list[Item | Comment] = field(default_factory=list)

    @property
    def items(self) -> list[Item]:
        """Without the comments."""
        return [e for e in self.entries if isinstance(e, Item)]

    def get(self, key: str) -> Any:
        """The value of a key, ``None`` where it is not there."""
        return next((i.value for i in self.items if i.key == key), None)

    def put(self, key: str, value: Any) -> None:
        """Give a key its value, in its place or at the end."""
        for item in self.items:
            if item.key == key:
                item.value = value
                return
        self.entries.append(Item(key, value))

    def drop(self, key: str) -> None:
        """Remove a key and the comments right above it."""
        keys = [e.key if isinstance(e, Item) else None for e in self.entries]
        if key not in keys:
            return
        end = start = keys.index(key)
        while start and isinstance(self.entries[start - 1], Comment):
            start -= 1
        del self.entries[start : end + 1]


def plain(value: Any) -> Any:
    """Ordinary Python data, without the comments."""
    if isinstance(value, Branch):
        return {i.key: plain(i.value) for i in value.items}
    if isinstance(value, list):
        return [plain(v) for v in value if not isinstance(v, Comment)]
    return str(value) if isinstance(value, Timestamp) else value


def tree_of(value: Any) -> Any:
    """The tree of ordinary Python data."""
    if isinstance(value, dict):
        return Branch([Item(str(k), tree_of(v)) for k, v in value.items()])
    return [tree_of(v) for v in value] if isinstance(value, (list, tuple)) else value


Visit = Callable[[Any, tuple[str, ...], list[list[str]]], Any]


def walk(value: Any, visit: Visit, path: tuple[str, ...] = (), above: tuple[Any, ...] = ()) -> Any:
    """The tree with every scalar and comment replaced by ``visit(value, path, comments)``.

    In SOPS's order, which its MAC depends on. ``path`` holds keys only, not positions in lists;
    ``comments`` are those in force: on every level the ones since the item before.
    """
    if value is None:
        return None
    if not isinstance(value, (Branch, list)):
        return visit(value, path, list(above))
    active: list[str] = []
    here = (*above, active)
    entries: list[Any] = []
    for entry in value.entries if isinstance(value, Branch) else value:
        if isinstance(entry, Comment):
            active.append(entry.text)
            entries.append(visit(entry, path, list(here)))
            continue
        if isinstance(entry, Item):
            new = walk(entry.value, visit, (*path, entry.key), here)
            entries.append(Item(entry.key, new, entry.where))
        else:
            entries.append(walk(entry, visit, path, here))
        active.clear()
    return Branch(entries) if isinstance(value, Branch) else entries


def leaves(branch: Branch, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Item]]:
    """Every item with a scalar value that mappings alone lead to, with its path."""
    for item in branch.items:
        here = (*path, item.key)
        if isinstance(item.value, Branch):
            yield from leaves(item.value, here)
        elif not isinstance(item.value, list):
            yield here, item


def wrong(name: str, where: str, what: str) -> ConfigError:
    """The error of a text that is not what its name says."""
    return ConfigError([Problem(f"{name}:{where}" if where else name, what)])
