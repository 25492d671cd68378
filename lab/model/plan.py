"""A plan: what would change, as values that can be printed, saved, approved and compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from lab.masking import mask, masked

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


class Action(StrEnum):
    """What a change does. There is no NOOP: an empty plan is the no-op."""

    DELETE = "delete"
    REPLACE = "replace"
    UPDATE = "update"
    CREATE = "create"

    @property
    def danger(self) -> int:
        """Rank for display: 0 is the most dangerous and stands first."""
        return list(Action).index(self)

    @property
    def sign(self) -> str:
        """The mark that users know from other tools."""
        return {"delete": "-", "replace": "-/+", "update": "~", "create": "+"}[self.value]


@dataclass(frozen=True, slots=True)
class FieldDiff:
    """One attribute: its value before and after. ``None`` means absent or not known.

    ``text`` is a unified diff where the values are whole files; ``secret`` values are never shown.
    """

    field: str
    before: JSON
    after: JSON
    text: str = ""
    secret: bool = False

    @property
    def told(self) -> Any:
        """The value after, as a saved plan tells it: without the values of secrets."""
        return masked(to_json(self)["after"])


@dataclass(frozen=True, slots=True)
class Change:
    """One planned step.

    Attributes:
        action: What is done to it.
        what: The thing, unique within its plan and stable between runs: ``"file /etc/motd"``.
        fields: The attributes that differ. A CREATE lists what it will be.
        reason: Why, in a few words, where the fields alone do not tell.
        destroys: What is lost for good, in words (``"root disk, 2.1 GiB"``); ``""`` = nothing.
            A change that destroys is refused unless it was allowed by name.
        interrupts: What stops working meanwhile (``"web1 restarts"``); ``""`` = nothing.
        disconnects: It can cut the connection that carries it.
        guarded: It is tried under a timer on the host, and reverts by itself if it cuts us off.
        deadline: Seconds after which it counts as failed.
    """

    action: Action
    what: str
    fields: tuple[FieldDiff, ...] = ()
    reason: str = ""
    destroys: str = ""
    interrupts: str = ""
    disconnects: bool = False
    guarded: bool = False
    deadline: float = 600.0

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes two changes the same step: action, thing and the values after.

        As a saved plan tells it: without the values of secrets.
        """
        after = {f.field: f.told for f in self.fields}
        text = json.dumps(after, sort_keys=True, default=str)
        return (self.action.value, mask(self.what), text)


@dataclass(frozen=True, slots=True)
class Blocker:
    """Wrong, and not ours to change: what, why, and the line that mends it."""

    what: str
    why: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one target needs. Falsy when there is nothing to do and nothing in the way.

    Attributes:
        changes: In the order they will be applied.
        blockers: Things that must be mended first; with any of these nothing is applied.
        predicted: The target does not exist yet or cannot be seen: made from what the layers
            below will hand up, not from an observation.
        notes: Facts worth a line (a fallback, a warning); they never make a plan non-empty.
        open: Another tool finds out what is to do only when it runs on what the layers and parts
            before it have made: approving this plan approves what is found then, losses excepted.
    """

    changes: tuple[Change, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    predicted: bool = False
    notes: tuple[str, ...] = field(default=())
    open: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything to do or in the way."""
        return bool(self.changes or self.blockers)

    def change(self, what: str) -> Change | None:
        """The change of that thing, or ``None``."""
        return next((c for c in self.changes if c.what == what), None)


def to_json(value: Any) -> Any:
    """Plain JSON values of any of the dataclasses here; secrets become ``"(secret)"``."""
    if isinstance(value, FieldDiff):
        masked = "(secret)" if value.secret else None
        return {
            "field": value.field,
            "before": masked if value.secret and value.before is not None else value.before,
            "after": masked if value.secret and value.after is not None else value.after,
            **({"text": value.text} if value.text else {}),
            **({"secret": True} if value.secret else {}),
        }
    if isinstance(value, (Change, Blocker, Plan)):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, (tuple, list)):
        return [to_json(v) for v in value]
    if isinstance(value, Action):
        return value.value
    return value


def plan_from_json(document: Mapping[str, Any]) -> Plan:
    """The plan that :func:`to_json` wrote. Raises KeyError, TypeError or ValueError otherwise."""
    return Plan(
        changes=tuple(
            Change(
                **{
                    **c,
                    "action": Action(c["action"]),
                    "fields": tuple(FieldDiff(**f) for f in c["fields"]),
                }
            )
            for c in document["changes"]
        ),
        blockers=tuple(Blocker(**b) for b in document["blockers"]),
        predicted=bool(document["predicted"]),
        notes=tuple(document["notes"]),
        open=bool(document.get("open", False)),
    )


def digest(value: Any) -> str:
    """A short, stable hash (16 hex digits) of any JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
