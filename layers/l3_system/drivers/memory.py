"""A perfect operating system in a JSON file: for tests, benchmarks and labs to try things in."""

from __future__ import annotations

from lab.clients.memory import Store
from lab.layer import Target, Workspace
from lab.model.plan import Action, Change
from layers.l3_system.planner import desired, fresh
from layers.l3_system.spec import Inputs, Observed, Spec

_LAYER = "l3_system"


class MemoryDriver:
    """Changes exactly what a change names."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        self._store = Store(workspace.state / "memory")

    def observe(self, target: Target[Spec, Inputs]) -> Observed | None:
        """What was applied so far, on top of what the image brings."""
        kept = self._store.get(_LAYER, target.host.name, target.name)
        return fresh(target) if kept is None else Observed.model_validate(kept)

    def apply(self, target: Target[Spec, Inputs], change: Change) -> None:
        """Make the thing what it is to be; one that is not declared goes."""
        observed = self.observe(target) or Observed()
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
        after = Observed(things=things, owned=owned)
        self._store.put(_LAYER, target.host.name, after.model_dump(), target.name)
