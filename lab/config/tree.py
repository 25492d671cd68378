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
from lab.model.secret import SecretName

MAX_BYTES = 8 * 1024 * 1024
MAX_VALUES = 2_000_000
MAX_DEPTH = 64
MAX_SCALAR = 1024 * 1024
_LONGEST_INT = 1000  # characters; what is longer is text
_INT = re.compile(r"^[-+]?(0|[1-9][0-9]*)$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?)$")
_LEADING_ZERO = re.compile(r"^[-+]?0[0-9]+$")
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


@dataclass(eq=False, slots=True)
class Node:
    """One value: a dict or list of Nodes, or a scalar; ``keys`` tells where a mapping's keys are.

    ``tag`` is ``"!override"``, ``"!reset"`` or ``""``. A file's root knows the file's ``secrets``.
    """

    value: Any
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)
    tag: str = ""
    secrets: tuple[Node, ...] = ()
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
    """The tree of a YAML text. No Node (``None``) where the text is not YAML at all.

    Built from events, without recursion: PyYAML's composer overruns the C stack on deep input.
    """
    builder = _Builder(name)
    loader = yaml.CSafeLoader(text)
    try:
        while (event := loader.get_event()) is not None:
            builder.take(event)
    except _TooMuch as error:
        return None, [*builder.problems, error.problem]
    except yaml.MarkedYAMLError as error:
        return None, [_syntax_problem(error, name)]
    except yaml.YAMLError as error:
        return None, [Problem(f"{name}:1:1", f"not YAML: {' '.join(str(error).split())}")]
    finally:
        loader.dispose()
    root = builder.root or Node({}, Place(name, 1, 1))
    root.secrets = tuple(builder.secrets)
    return root, builder.problems


def _syntax_problem(error: yaml.MarkedYAMLError, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
    said = error.problem or "not YAML"
    if "could not determine a constructor" in said or "undefined alias" in said:
        return Problem(where, said)
    if "cannot start any token" in said and "'\\t'" in said:
        return Problem(where, "a tab cannot indent YAML: use spaces")
    return Problem(where, f"not YAML: {said}")


class _TooMuch(Exception):  # noqa: N818 (it ends the parsing, nothing more)
    def __init__(self, place: Place, what: str) -> None:
        super().__init__(what)
        self.problem = Problem(str(place), what)


@dataclass(slots=True)
class _Frame:
    """A collection that is still open; ``key`` is the mapping key whose value comes next."""

    node: Node
    key: str | None = None
    at: Place | None = None
    inherited: list[Node] = field(default_factory=list)
    size: int = 1


class _Builder:
    """Turns parser events into Nodes; what an alias names is one Node, however often it is used."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self.secrets: list[Node] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Node] = {}
        self._sizes: dict[int, int] = {}

    def take(self, event: yaml.Event) -> None:
        """The next event of the parser."""
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._open(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            self._tell(self._place(event), "one document a file: this '---' begins a second one")

    def _tell(self, place: Place, what: str) -> None:
        self.problems.append(Problem(str(place), what))

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        line, column = (mark.line, mark.column) if mark is not None else (0, 0)
        return Place(self.name, line + 1, column + 1)

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        place = self._place(event)
        if len(self._stack) >= MAX_DEPTH:
            raise _TooMuch(place, f"values nested more than {MAX_DEPTH} deep")
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        core = f"{_CORE}map" if is_mapping else f"{_CORE}seq"
        tag = event.tag or ""
        if tag not in {"", "!", core, *MERGE_TAGS}:
            self._unknown_tag(tag, place)
        node = Node({} if is_mapping else [], place, tag=tag if tag in MERGE_TAGS else "")
        if event.anchor:
            self._anchors[event.anchor] = node
        self._stack.append(_Frame(node))

    def _close(self) -> None:
        frame = self._stack.pop()
        node = frame.node
        for other in frame.inherited:
            for key, value in other.value.items():
                if key not in node.value:
                    node.value[key], node.keys[key] = value, other.keys[key]
                    frame.size += self._sizes.get(id(value), 1)
        self._sizes[id(node)] = frame.size
        self._add(node, node.place)

    def _alias(self, event: yaml.AliasEvent) -> None:
        place = self._place(event)
        node = self._anchors.get(event.anchor or "")
        if node is None:
            self._tell(place, f"no anchor &{event.anchor} stands above this alias")
            node = Node(None, place)
        elif any(frame.node is node for frame in self._stack):
            self._tell(place, "an alias that contains itself")
            node = Node(None, place)
        self._add(node, place)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        place = self._place(event)
        if len(event.value) > MAX_SCALAR:
            raise _TooMuch(place, f"{len(event.value)} characters in one value: name a file")
        tag = event.tag or ""
        node = Node(self._value(event, tag, place), place, tag=tag if tag in MERGE_TAGS else "")
        if event.anchor:
            self._anchors[event.anchor] = node
        if isinstance(node.value, SecretName):
            self.secrets.append(node)
        self._add(node, place, plain_key="<<" if event.value == "<<" and _plain(event) else None)

    def _add(self, node: Node, place: Place, plain_key: str | None = None) -> None:
        """Put a finished value where it belongs: root, list, key or value."""
        if not self._stack:
            self.root = self.root or node
            return
        frame = self._stack[-1]
        into = frame.node.value
        frame.size += self._sizes.get(id(node), 1)
        if frame.size > MAX_VALUES:
            what = f"aliases expand to more than {MAX_VALUES} values here"
            raise _TooMuch(frame.node.place, what)
        if isinstance(into, list):
            into.append(node)
        elif frame.at is None:
            frame.key, frame.at = self._key(node, plain_key, frame), place
        else:
            if frame.key == "<<" and frame.key not in frame.node.keys:
                frame.inherited += self._merged(node)
            elif frame.key is not None:
                into[frame.key] = node
            frame.key = frame.at = None

    def _key(self, node: Node, plain_key: str | None, frame: _Frame) -> str | None:
        """The key that a value stands for; ``"<<"`` merges and is entered nowhere."""
        if plain_key is not None:
            return plain_key
        if isinstance(node.value, (dict, list, SecretName)):
            self._tell(node.place, "a key must be a plain word")
            return None
        key = _key_text(node.value)
        if key in frame.node.keys:
            first = frame.node.keys[key].line
            self._tell(node.place, f"{key!r} stands here twice (first on line {first})")
        frame.node.keys[key] = node.place
        return key

    def _merged(self, node: Node) -> list[Node]:
        if isinstance(node.value, dict):
            return [node]
        if isinstance(node.value, list) and all(isinstance(n.value, dict) for n in node.value):
            return list(node.value)
        self._tell(node.place, "'<<' takes a mapping")
        return []

    def _unknown_tag(self, tag: str, place: Place) -> None:
        shown = tag.replace(_CORE, "!!")
        self._tell(place, f"unknown tag {shown}: !secret, !override, !reset exist")

    def _value(self, event: yaml.ScalarEvent, tag: str, place: Place) -> Any:
        text: str = event.value
        if tag == "!secret":
            if not text:
                self._tell(place, "!secret needs a name")
            return SecretName(text)
        if tag not in {"", "!", f"{_CORE}str", *MERGE_TAGS}:
            self._unknown_tag(tag, place)
        if _plain(event) and tag != f"{_CORE}str":
            if text in {"", "~", "null"}:
                return None
            if text in {"true", "false"}:
                return text == "true"
            if _INT.match(text) and len(text) < _LONGEST_INT:
                return int(text)
            if _FLOAT.match(text) and not _LEADING_ZERO.match(text) and not _INT.match(text):
                return float(text)
        placed = PlacedText(text)
        placed.place = place
        return placed


def _plain(event: yaml.ScalarEvent) -> bool:
    """Whether it stands without quotes: quoted scalars are always strings."""
    return not event.style


def _key_text(value: Any) -> str:
    """A key as it is written: ``8080:`` and ``true:`` are words when they are keys."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
