"""A perfect operating system in a JSON file: for tests, benchmarks and labs to try things in."""

from __future__ import annotations

from typing import Any

from lab.clients.memory import Store
from lab.layer import Target, Workspace
from lab.model.applied import Applied
from lab.model.plan import Action, Change
from layers.l3_system import errands
from layers.l3_system.planner import desired, fresh
from layers.l3_system.spec import Inputs, Observed, Spec
from layers.l3_system.spec.errands import Errand, Rehearsal

_LAYER = "l3_system"


class MemoryDriver:
    """Changes exactly what a change names."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        self._store = Store(workspace.state / "memory")

    def observe(self, target: Target[Any, Inputs]) -> Observed | Rehearsal | None:
        """What was applied so far, on top of what the image brings."""
        kept = self._store.get(_LAYER, target.host.name, target.name)
        if kept is None:
            return fresh(target)
        model = Rehearsal if isinstance(target.spec, Errand) else Observed
        return model.model_validate(kept)

    def apply(self, target: Target[Any, Inputs], change: Change) -> None:
        """Make the thing what it is to be; one that is not declared goes."""
        if isinstance(target.spec, Errand):
            done = errands.desired(target).model_dump()
            self._store.put(_LAYER, target.host.name, done, target.name)
        else:
            self._apply(target, change)

    def remembers(self, observed: Observed | Rehearsal | None) -> str | None:
        """The commit that was written beside it."""
        return observed.commit if isinstance(observed, Observed) else None

    def remember(self, target: Target[Any, Inputs], applied: Applied) -> None:
        """Write it beside what was applied."""
        observed = self.observe(target)
        if isinstance(observed, Observed):
            after = observed.model_copy(update={"commit": applied.commit})
            self._store.put(_LAYER, target.host.name, after.model_dump(), target.name)

    def _apply(self, target: Target[Spec, Inputs], change: Change) -> None:
        found = self.observe(target)
        observed = found if isinstance(found, Observed) else Observed()
        kind, _, name = change.what.partition(" ")
        things = {k: dict(v) for k, v in observed.things.items()}
        owned = dict(observed.owned)
        thing = desired(target).things[kind].get(name)
        if thing is not None:
            things.setdefault(kind, {})[name] = thing
            if change.action is Action.CREATE:
                owned[change.what] = "made"
        else:
            things.get(kind, {}).pop(name, None)
            owned.pop(change.what, None)
        after = observed.model_copy(update={"things": things, "owned": owned})
        self._store.put(_LAYER, target.host.name, after.model_dump(), target.name)
