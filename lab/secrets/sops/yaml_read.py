"""YAML into a tree, comments included, within bounds: from parser events, without recursion."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from lab.errors import ConfigError
from lab.secrets.sops.scalars import UnfitError, resolve
from lab.secrets.sops.tree import MAX_DEPTH, MAX_VALUES, Branch, Comment, Item, wrong

_CORE = "tag:yaml.org,2002:"
_COMMENT = re.compile(r"(?:^|(?<=[\s,\[\]{}]))#([^\n\r]*)")
_AS_TEXT = (f"{_CORE}str", f"{_CORE}merge")  # upstream tags the text << so
_TAGS = {
    "",
    "!",
    *(f"{_CORE}{t}" for t in ("str", "int", "float", "bool", "null", "map", "seq", "merge")),
}


def parse(text: str, name: str) -> Branch:
    """The document's mapping. Raises ConfigError with the place, ``name`` standing for the file."""
    reader = _Reader(text, name)
    loader = yaml.CSafeLoader(text)
    try:
        while (event := loader.get_event()) is not None:
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise wrong(name, where, f"not YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise wrong(name, "1:1", f"not YAML: {' '.join(str(error).split())}") from None
    finally:
        loader.dispose()
    return reader.root


def indent_of(text: str) -> int:
    """The columns a nested block of that text is indented by: 2, or 4 as SOPS does it."""
    first = re.search(r"^( +)[^ #\n]", text, re.MULTILINE)
    return 2 if first and len(first[1]) == 2 else 4  # noqa: PLR2004 (the only two there are)


@dataclass(slots=True)
class _Open:
    """A collection that is not closed yet; ``key`` waits for its value."""

    into: Branch | list[Any]
    column: int
    key: Item | None = None

    @property
    def entries(self) -> list[Any]:
        return self.into.entries if isinstance(self.into, Branch) else self.into


class _Reader:
    """Takes events; finds the comments in the gaps between them."""

    def __init__(self, text: str, name: str) -> None:
        self.root = Branch()
        self._text, self._name = text, name
        self._stack: list[_Open] = []
        self._seen = 0  # index behind the last token
        self._documents = 0
        self._values = 0
        self._waiting: list[Comment] = []  # for the collection that starts next
        self._last: list[Any] | None = None  # the collection that the last scalar went into

    def take(self, event: yaml.Event) -> None:
        """The next event of the parser."""
        self._comments(event)
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
            self._past(event)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._start(event)
            self._past(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._stack.pop()
            self._past(event)
        elif isinstance(event, yaml.AliasEvent):
            raise self._wrong(event, "an alias (*name) has no place among secrets")
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._wrong(event, "one document a file: this '---' begins a second one")

    def _wrong(self, event: yaml.Event, what: str) -> ConfigError:
        mark = event.start_mark
        where = f"{mark.line + 1}:{mark.column + 1}" if mark is not None else "1:1"
        return wrong(self._name, where, what)

    def _past(self, event: yaml.Event) -> None:
        start, end = event.start_mark, event.end_mark
        if start is not None and end is not None and end.index > start.index:
            self._seen = end.index  # what ends a block has no length, and stands further on

    def _comments(self, event: yaml.Event) -> None:
        """What stands between the last token and this one."""
        end = len(self._text) if event.start_mark is None else event.start_mark.index
        gap = self._text[self._seen : end]
        if "#" not in gap:
            return
        start = self._seen
        closing = isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent))
        starts = isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent))
        left = 0
        for found in _COMMENT.finditer(gap):
            at = start + found.start()
            column = at - (self._text.rfind("\n", 0, at) + 1)
            inline = start > 0 and "\n" not in self._text[start - 1 : at]
            if closing and not inline and column < self._stack[-1].column:
                break  # it belongs to what goes on outside
            self._comment(Comment(found[1].rstrip(), inline), starts=starts)
            left = found.end()
        self._seen = start + left

    def _comment(self, comment: Comment, *, starts: bool) -> None:
        entries = self._stack[-1].entries if self._stack else self.root.entries
        if not comment.inline:
            if starts and self._stack:
                self._waiting.append(comment)
            elif self._stack and self._stack[-1].key is not None:
                entries.insert(len(entries) - 1, comment)
            else:
                entries.append(comment)
            return
        # it ends a line: of the item that stands there, or of a key whose value comes below
        into = self._last if self._last is not None else entries
        into.insert(len(into) - 1 if into else 0, comment)

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        if event.anchor:
            raise self._wrong(event, "an anchor (&name) has no place among secrets")
        if (event.tag or "") not in _TAGS:
            raise self._wrong(event, f"unknown tag {str(event.tag).replace(_CORE, '!!')}")
        if len(self._stack) >= MAX_DEPTH:
            raise self._wrong(event, f"values nested more than {MAX_DEPTH} deep")
        column = event.start_mark.column if event.start_mark is not None else 0
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if not self._stack:
            if not is_mapping:
                raise self._wrong(event, "a mapping (key: value) is expected here, not a list")
            self._stack.append(_Open(self.root, column))
            return
        new: Branch | list[Any] = Branch([*self._waiting]) if is_mapping else [*self._waiting]
        self._waiting.clear()
        self._add(event, new)
        self._stack.append(_Open(new, column))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if event.anchor:
            raise self._wrong(event, "an anchor (&name) has no place among secrets")
        if not self._stack:
            if event.value in {"", "~", "null"} and not event.style:
                return
            raise self._wrong(event, "a mapping (key: value) is expected here")
        frame = self._stack[-1]
        if isinstance(frame.into, Branch) and frame.key is None:
            self._key(event, frame, frame.into)
            return
        self._add(event, self._value(event))

    def _key(self, event: yaml.ScalarEvent, frame: _Open, into: Branch) -> None:
        key: str = event.value
        if any(item.key == key for item in into.items):
            raise self._wrong(event, f"{key!r} stands here twice")
        mark = event.start_mark
        where = f"{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        frame.key = Item(key, None, where)
        into.entries.append(frame.key)
        self._last = into.entries
        self._values += 1

    def _add(self, event: yaml.Event, value: Any) -> None:
        frame = self._stack[-1]
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._wrong(event, f"more than {MAX_VALUES} values")
        if isinstance(frame.into, Branch):
            if frame.key is None:
                raise self._wrong(event, "a key must be a plain word")
            frame.key.value, frame.key = value, None
        else:
            frame.into.append(value)
        self._last = frame.entries

    def _value(self, event: yaml.ScalarEvent) -> Any:
        tag = event.tag or ""
        if tag not in _TAGS:
            raise self._wrong(event, f"unknown tag {tag.replace(_CORE, '!!')}")
        if tag in _AS_TEXT or (event.style and tag in {"", "!"}):
            return event.value
        try:
            return resolve(event.value)
        except UnfitError as error:
            raise self._wrong(event, str(error)) from None
