"""Pure: what tofu plans, out of ``show -json``: which action, which attributes, and why anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lab.model.plan import JSON, Action, Change, FieldDiff

_UNKNOWN = "known afterwards"
_ACTIONS: Mapping[tuple[str, ...], Action] = {
    ("create",): Action.CREATE,
    ("update",): Action.UPDATE,
    ("delete",): Action.DELETE,
    ("delete", "create"): Action.REPLACE,
    ("create", "delete"): Action.REPLACE,
}


@dataclass(frozen=True, slots=True)
class Planned:
    """One saved plan.

    ``number`` is the VMID that the machine has now, as tofu believes; ``None`` where it knows none.
    """

    changes: tuple[Change, ...]
    number: int | None = None

    @property
    def actions(self) -> frozenset[Action]:
        """What it would do; nothing where it would do nothing."""
        return frozenset(change.action for change in self.changes)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.changes


def read(document: Mapping[str, Any]) -> Planned:
    """The plan that ``show -json`` printed."""
    changes: list[Change] = []
    number: int | None = None
    for resource in document.get("resource_changes") or ():
        change = resource["change"]
        before = change.get("before")
        if isinstance(before, dict) and before.get("vm_id") is not None:
            number = int(before["vm_id"])
        action = _ACTIONS.get(tuple(change.get("actions") or ()))
        if action is not None:
            changes.append(_change(str(resource.get("name", "")), action, change))
        elif change.get("importing"):
            changes.append(Change(Action.UPDATE, str(resource.get("name", "")), reason="found"))
    return Planned(tuple(changes), number)


def _change(what: str, action: Action, change: Mapping[str, Any]) -> Change:
    fields: tuple[FieldDiff, ...] = ()
    if action in {Action.UPDATE, Action.REPLACE}:
        before, after = change.get("before") or {}, change.get("after") or {}
        unknown, hidden = change.get("after_unknown") or {}, change.get("after_sensitive") or {}
        fields = tuple(_differences((), before, after, unknown, hidden))
    paths = [_shown(tuple(path)) for path in change.get("replace_paths") or ()]
    reason = f"{', '.join(paths)} cannot be changed otherwise" if paths else ""
    return Change(action, what, fields, reason=reason)


def _differences(
    path: tuple[Any, ...], before: Any, after: Any, unknown: Any, hidden: Any
) -> Iterator[FieldDiff]:
    if unknown is True:
        yield FieldDiff(_shown(path), _plain(before), _UNKNOWN)
    elif hidden is True:
        if before != after:
            yield FieldDiff(_shown(path), "hidden", "hidden", secret=True)
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after, *(unknown if isinstance(unknown, dict) else ())}):
            yield from _differences(
                (*path, key), before.get(key), after.get(key), _at(unknown, key), _at(hidden, key)
            )
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            yield from _differences(
                (*path, index),
                _at(before, index),
                _at(after, index),
                _at(unknown, index),
                _at(hidden, index),
            )
    elif before != after:
        yield FieldDiff(_shown(path), _plain(before), _plain(after))


def _at(tree: Any, key: Any) -> Any:
    if isinstance(tree, dict):
        return tree.get(key)
    if isinstance(tree, list):
        return tree[key] if key < len(tree) else None
    return tree if tree is True else None


def _plain(value: Any) -> JSON:
    plain: JSON = value
    return plain


def _shown(path: tuple[Any, ...]) -> str:
    """``disk[0].size``; the first of a block that stands once is not counted."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text
