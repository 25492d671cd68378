"""What happens during a run, as values: the CLI, the journal and a web page read this one stream.

Every event is a frozen dataclass; :func:`to_json` gives its versioned JSON form (``lab.event/1``).
Times are seconds since the epoch, UTC. Listeners are called from several threads, one at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from lab.masking import masked
from lab.model.outcome import Outcome, PartReport, RunReport
from lab.model.plan import Change, Plan
from lab.model.plan import to_json as plan_to_json
from lab.model.secret import Secret

SCHEMA = "lab.event/1"


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """The common part: when."""

    at: float


@dataclasses.dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A plan, verify, converge or destroy begins."""

    run: str
    verb: str
    hosts: tuple[str, ...]
    layers: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class PartStarted(Event):
    """One target of one layer of one host begins; ``doing`` is what it does first."""

    host: str
    layer: str
    part: str
    driver: str


@dataclasses.dataclass(frozen=True, slots=True)
class PartPlanned(Event):
    """Its plan is known."""

    host: str
    layer: str
    part: str
    plan: Plan


@dataclasses.dataclass(frozen=True, slots=True)
class ChangeStarted(Event):
    """One change begins; ``index`` of ``count``, from 1."""

    host: str
    layer: str
    part: str
    change: Change
    index: int
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class ChangeEnded(Event):
    """One change was carried out (``ok``), or raised."""

    host: str
    layer: str
    part: str
    change: Change
    ok: bool
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Progress(Event):
    """What a part is doing now; bytes or items where they are known."""

    host: str
    layer: str
    part: str
    doing: str
    done: int | None = None
    total: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class PartEnded(Event):
    """One target is through: its report."""

    report: PartReport


@dataclasses.dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something worth a line that belongs to no single change (a fallback, a skipped host)."""

    text: str
    host: str = ""
    layer: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class LockAwaited(Event):
    """The run has not begun: another one holds a host; who, and for how long it was waited for."""

    holder: str
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """The run is over; the report holds everything."""

    report: RunReport


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener that does not listen."""


def _plain(value: Any) -> Any:
    if isinstance(value, (Plan, Change)):
        return plan_to_json(value)
    if isinstance(value, Outcome):
        return value.value
    if isinstance(value, Secret):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (tuple, list, set, frozenset)):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump is not None else str(value)


def name_of(kind: type[Event]) -> str:
    """What the stream calls an event: its class's name in snake case."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__).lstrip("_")


def to_json(event: Event | RunReport | PartReport) -> dict[str, Any]:
    """The JSON form: ``schema``, ``event`` (the class's name, snake case), ``time`` and fields.

    Secrets are masked in it.
    """
    body: dict[str, Any] = masked(_plain(event))
    if not isinstance(event, Event):
        return body
    name = name_of(type(event))
    at = body.pop("at")
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return {"schema": SCHEMA, "event": name, "time": time, **body}
