"""Templates that are only remembered: for tests, benchmarks and labs of memory hosts."""

from __future__ import annotations

from lab.clients.memory import Store
from lab.layer import Target, Workspace
from lab.model.plan import Change
from layers.l1_image import planner
from layers.l1_image.spec import Inputs, Observed, Spec


class MemoryDriver:
    """A perfect backend: what is applied is there."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        self._store = Store(workspace.state / "memory")

    def observe(self, target: Target[Spec, Inputs]) -> Observed | None:
        """The template of that name, or ``None``."""
        kept = self._store.get("l1_image", target.spec.name)
        return None if kept is None else Observed.model_validate(kept)

    def apply(self, target: Target[Spec, Inputs], change: Change) -> None:  # noqa: ARG002
        """Remember it."""
        made = planner.desired(target)
        self._store.put("l1_image", target.spec.name, made.model_dump(mode="json"))
