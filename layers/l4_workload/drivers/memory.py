"""Workloads that are only written down: a perfect backend for tests and for 10,000 hosts."""

from __future__ import annotations

from lab.clients.memory import Store
from lab.layer import Target, Workspace
from lab.model.plan import Action, Change
from layers.l4_workload.drift import desired
from layers.l4_workload.spec import Inputs, Observed, Workload

_LAYER = "l4_workload"


class MemoryDriver:
    """Every change succeeds at once, and is there the next time."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        self._store = Store(workspace.state / "memory")

    def observe(self, target: Target[Workload, Inputs]) -> Observed | None:
        """What was put there."""
        kept = self._store.get(_LAYER, target.host.name, target.name)
        return None if kept is None else Observed.model_validate(kept)

    def apply(self, target: Target[Workload, Inputs], change: Change) -> None:
        """Make it as declared, or forget it."""
        if change.action is Action.DELETE:
            self._store.drop(_LAYER, target.host.name, target.name)
            return
        wanted = desired(target.spec).model_dump(mode="json")
        self._store.put(_LAYER, target.host.name, wanted, target.name)
