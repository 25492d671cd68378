"""An environment that lacks nothing."""

from __future__ import annotations

from lab.layer import Target, Workspace
from lab.model.plan import Change
from layers.l0_runway import planner
from layers.l0_runway.spec import Inputs, Observed, Spec


class MemoryDriver:
    """Everything that is asked for is there; there is never anything to apply."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        del workspace  # it keeps nothing

    def observe(self, target: Target[Spec, Inputs]) -> Observed | None:
        """An environment as it should be."""
        return planner.desired(target)

    def apply(self, target: Target[Spec, Inputs], change: Change) -> None:
        """This layer plans no changes."""
