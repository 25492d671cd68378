"""What was asked for, and what a walk needs of the run that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from lab import events
from lab.engine.approval import Approval, Key
from lab.journal import Owned
from lab.layer import Driver, Layer, Workspace
from lab.model.applied import Applied
from lab.model.host import Host
from lab.model.plan import Change


@dataclass(frozen=True, slots=True)
class Options:
    """What this run was asked for.

    Attributes:
        stop: Index of the highest layer to go to.
        through: Layers below ``stop`` are acted on too; otherwise they are only looked at.
        adopt: What is not ours may be taken over.
        with_data: Durable disks too (destroy only, and only when the name was typed).
        restoring: Sets of data whose restore the caller is about to finish: they are no reason to
            start nothing.
        renew: What can be made anew is made anew, though nothing differs; what is durable stays.
    """

    stop: int
    through: bool = True
    adopt: bool = False
    with_data: bool = False
    restoring: frozenset[str] = frozenset()
    renew: bool = False


class Run(Protocol):
    """What a walk needs of the run that it belongs to."""

    id: str
    layers: tuple[Layer, ...]
    options: Options
    approval: Approval
    workspace: Workspace
    commit: str

    def emit(self, event: events.Event) -> None:
        """Tell the listener."""
        ...

    def driver(self, layer: Layer, name: str) -> Driver[Any, Any, Any]:
        """The one instance of a driver."""
        ...

    def turn(self, key: str | None) -> AbstractContextManager[Any]:
        """Hosts that share a thing take turns at it."""
        ...

    def maker(self, layer: Layer, host: Host, key: str | None) -> str:
        """Which host's plan counts for a shared thing."""
        ...

    def made(self, key: str | None) -> None:
        """A host's turn at a shared thing has changed it."""
        ...

    def was_made(self, key: str | None) -> bool:
        """Whether a host of this run has made a shared thing."""
        ...

    def given(self, host: str) -> Mapping[str, object]:
        """What layers may need to know of a host that no layer below hands up."""
        ...

    def owned(self, host: str, layer: str) -> tuple[Owned, ...]:
        """The ledger's entries for one layer of a host."""
        ...

    def recorded(self, layer: Layer, spec: str) -> BaseModel:
        """A spec as the ledger holds it."""
        ...

    def own(self, thing: Owned) -> None:
        """Enter a thing into the ledger."""
        ...

    def disown(self, thing: Key) -> None:
        """Take it out of the ledger."""
        ...

    def already_applied(self, host: str) -> str | None:
        """The commit that this host was last brought to; ``None`` where that is not known."""
        ...

    def keep_applied(self, host: str, applied: Applied) -> None:
        """Record what it was brought to now."""
        ...

    def forget_applied(self, host: str) -> None:
        """It is gone."""
        ...

    def begin_change(self, key: Key, change: Change) -> int:
        """Record a change before it is carried out; returns its number."""
        ...

    def end_change(self, number: int, *, ok: bool, seconds: float) -> None:
        """Record its end."""
        ...

    def bug(self, error: Exception) -> None:
        """Keep it; it is raised when the run has ended."""
        ...
