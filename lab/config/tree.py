"""YAML as a tree of values that know where they were written.

Scalars follow YAML 1.2's core schema (``yes`` and ``0644`` are strings), so that what a user reads
is what is meant. Hostile input ends in a Problem, quickly: file size, depth and what aliases
expand to are bounded; duplicate keys and unknown tags are mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab.errors import Problem

MAX_BYTES = 8 * 1024 * 1024
MAX_VALUES = 2_000_000
_INT = re.compile(r"^[-+]?(0|[1-9][0-9]*)$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?)$")
_LEADING_ZERO = re.compile(r"^[-+]?0[0-9]+$")
_DEEP_LINE = re.compile(r"^\s*(?:[-?]\s+){100,}", re.MULTILINE)
_CORE = "tag:yaml.org,2002:"
MERGE_TAGS = ("!override", "!reset")


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file, 1-based; the file is relative to the lab's root."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class PlacedText(str):
    """A string of the lab's files that knows where it stands (files are looked up beside it)."""

    __slots__ = ("place",)
    place: Place


@dataclass(frozen=True, slots=True)
class SecretName:
    """``!secret name``: resolved only where the value is used, never while loading."""

    name: str


@dataclass(eq=False, slots=True)
class Node:
    """One value: a dict or list of Nodes, or a scalar; ``keys`` tells where a mapping's keys are.

    ``tag`` is ``"!override"``, ``"!reset"`` or ``""``.
    """

    value: Any
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)
    tag: str = ""
    _plain: Any = None

    def get(self, key: str) -> Node | None:
        """The value of a key, where this is a mapping that has it."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def plain(self) -> Any:
        """The value as ordinary Python data; computed once. MUST NOT be changed by the caller."""
        if isinstance(self.value, dict):
            if self._plain is None:
                self._plain = {k: v.plain() for k, v in self.value.items()}
            return self._plain
        if isinstance(self.value, list):
            if self._plain is None:
                self._plain = [v.plain() for v in self.value]
            return self._plain
        return self.value

    def find(self, path: tuple[str | int, ...]) -> Place:
        """The place of the deepest part of ``path`` that is written down.

        Words that are not in the tree (the name of a variant) are passed over.
        """
        node, place = self, self.place
        for step in path:
            if isinstance(node.value, dict) and isinstance(step, str) and step in node.value:
                place = node.keys.get(step, node.value[step].place)
                node = node.value[step]
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                place = node.place
        return place

    def walk(self, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Node]]:
        """Every leaf with its path."""
        if isinstance(self.value, dict) and self.value:
            for key, node in self.value.items():
                yield from node.walk((*path, key))
        elif isinstance(self.value, list) and self.value:
            for index, node in enumerate(self.value):
                yield from node.walk((*path, str(index)))
        else:
            yield path, self


def read(path: Path, name: str) -> tuple[Node | None, list[Problem]]:
    """The tree of one file and what is wrong with it; ``name`` is what the user calls the file."""
    try:
        if path.is_dir():
            return None, [Problem(name, "this is a folder, a YAML file is expected here")]
        size = path.stat().st_size
        if size > MAX_BYTES:
            return None, [Problem(name, f"{size} bytes are more than the {MAX_BYTES} allowed")]
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return None, [Problem(name, "there is no such file")]
    except UnicodeDecodeError as error:
        return None, [Problem(name, f"this is not UTF-8 text (byte {error.start})")]
    except OSError as error:
        return None, [Problem(name, f"it cannot be read: {error.strerror}")]
    return parse(text, name)


def parse(text: str, name: str) -> tuple[Node | None, list[Problem]]:
    """The tree of a YAML text. No Node (``None``) where the text is not YAML at all."""
    if deep := _DEEP_LINE.search(text):
        line = text.count("\n", 0, deep.start()) + 1
        return None, [Problem(f"{name}:{line}:1", "lists nested too deeply")]
    loader = yaml.CSafeLoader(text)
    try:
        root = loader.get_single_node()
    except RecursionError:
        return None, [Problem(f"{name}:1:1", "values nested too deeply")]
    except yaml.MarkedYAMLError as error:
        return None, [_syntax_problem(error, name)]
    except yaml.YAMLError as error:
        return None, [Problem(f"{name}:1:1", f"not YAML: {' '.join(str(error).split())}")]
    finally:
        loader.dispose()
    if root is None:
        return Node({}, Place(name, 1, 1)), []
    return _Builder(name).build(root)


def _syntax_problem(error: yaml.MarkedYAMLError, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
    said = error.problem or "not YAML"
    if "could not determine a constructor" in said or "undefined alias" in said:
        return Problem(where, said)
    if "cannot start any token" in said and "'\\t'" in said:
        return Problem(where, "a tab cannot indent YAML: use spaces")
    return Problem(where, f"not YAML: {said}")


class _Builder:
    """Turns PyYAML's node graph into Nodes, each graph node once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self._made: dict[int, Node] = {}
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()

    def build(self, root: yaml.Node) -> tuple[Node | None, list[Problem]]:
        try:
            node = self._node(root)
            size = self._size(node)
        except RecursionError:
            return None, [Problem(f"{self.name}:1:1", "values nested too deeply")]
        if size > MAX_VALUES:
            what = f"aliases here expand to {size} values, more than the {MAX_VALUES} allowed"
            return None, [Problem(str(node.place), what)]
        return node, self.problems

    def _place(self, node: yaml.Node) -> Place:
        return Place(self.name, node.start_mark.line + 1, node.start_mark.column + 1)

    def _node(self, node: yaml.Node) -> Node:
        known = self._made.get(id(node))
        if known is not None:
            return known
        place = self._place(node)
        if id(node) in self._open:
            self.problems.append(Problem(str(place), "an alias that contains itself"))
            return Node(None, place)
        self._open.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            made = Node(self._scalar(node, place), place, tag=self._merge_tag(node))
        elif isinstance(node, yaml.SequenceNode):
            self._check_tag(node, f"{_CORE}seq")
            made = Node([self._node(n) for n in node.value], place, tag=self._merge_tag(node))
        elif isinstance(node, yaml.MappingNode):
            made = self._mapping(node, place)
        self._open.discard(id(node))
        self._made[id(node)] = made
        return made

    def _mapping(self, node: yaml.MappingNode, place: Place) -> Node:
        self._check_tag(node, f"{_CORE}map")
        values: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        inherited: list[Node] = []
        for key_node, value_node in node.value:
            at = self._place(key_node)
            if key_node.tag == f"{_CORE}merge":
                inherited += self._merged(self._node(value_node))
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(str(at), "a key must be a plain word"))
                continue
            key = key_node.value
            if key in values:
                self.problems.append(
                    Problem(str(at), f"{key!r} stands here twice (first on line {keys[key].line})")
                )
            values[key], keys[key] = self._node(value_node), at
        for other in inherited:
            for key, value in other.value.items():
                if key not in values:
                    values[key], keys[key] = value, other.keys[key]
        return Node(values, place, keys, tag=self._merge_tag(node))

    def _merged(self, node: Node) -> list[Node]:
        if isinstance(node.value, dict):
            return [node]
        if isinstance(node.value, list) and all(isinstance(n.value, dict) for n in node.value):
            return list(node.value)
        self.problems.append(Problem(str(node.place), "'<<' takes a mapping"))
        return []

    def _merge_tag(self, node: yaml.Node) -> str:
        return node.tag if node.tag in MERGE_TAGS else ""

    def _check_tag(self, node: yaml.Node, core: str) -> None:
        if node.tag not in {core, *MERGE_TAGS}:
            self._unknown_tag(node)

    def _unknown_tag(self, node: yaml.Node) -> None:
        tag = node.tag.replace(_CORE, "!!")
        self.problems.append(
            Problem(str(self._place(node)), f"unknown tag {tag}: !secret, !override, !reset exist")
        )

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        text: str = node.value
        if node.tag == "!secret":
            return SecretName(text)
        if (
            (not node.tag.startswith(_CORE) and node.tag not in MERGE_TAGS)
            or node.tag.startswith(_CORE + "python")
            or node.tag == f"{_CORE}binary"
        ):
            self._unknown_tag(node)
        if node.style is None:  # plain: quoted scalars are always strings
            if text in {"", "~", "null"}:
                return None
            if text in {"true", "false"}:
                return text == "true"
            if _INT.match(text):
                return int(text) if len(text) < 30 else text  # noqa: PLR2004 (no number is so long)
            if _FLOAT.match(text) and not _LEADING_ZERO.match(text):
                return float(text)
        placed = PlacedText(text)
        placed.place = place
        return placed

    def _size(self, node: Node) -> int:
        """How many values it holds when aliases are expanded."""
        known = self._sizes.get(id(node))
        if known is None:
            inner = node.value
            children = inner.values() if isinstance(inner, dict) else inner
            nested = isinstance(inner, (dict, list))
            known = 1 + (sum(self._size(n) for n in children) if nested else 0)
            self._sizes[id(node)] = known
        return known
