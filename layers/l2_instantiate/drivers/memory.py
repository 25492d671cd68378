"""Machines that are only remembered: a backend that does exactly what each change names."""

from __future__ import annotations

from typing import Any

from lab.clients.memory import Store
from lab.layer import Target, Workspace
from lab.model.plan import Action, Change
from layers.l2_instantiate import steps
from layers.l2_instantiate.machines import ROOT
from layers.l2_instantiate.spec import Inputs, Observed, Spec
from layers.l2_instantiate.wanted import REPLACE_ON, desired

_LAYER = "l2_instantiate"
# Fields of a change whose names are for people, and what they are in Observed.
_FIELDS = {
    "disks": "attached",
    "root filesystem": "root_at_boot",
    "host key": "host_key",
    "the lab's login key": "identity_file",
}
_NEEDS_START = {"root_at_boot", "answers", "power"}


class MemoryDriver:
    """The driver named ``memory``."""

    replace_on = REPLACE_ON

    def __init__(self, workspace: Workspace) -> None:
        self._store = Store(workspace.state / "memory")

    def observe(self, target: Target[Spec, Inputs]) -> Observed | None:
        """What earlier changes left."""
        kept = self._store.get(_LAYER, target.host.name)
        return None if kept is None else Observed.model_validate(kept)

    def apply(self, target: Target[Spec, Inputs], change: Change) -> None:
        """Carry out exactly that change."""
        now = self.observe(target) or Observed(exists=False)
        after = _applied(target, now, change)
        if after.exists or after.disks:
            self._store.put(_LAYER, target.host.name, after.model_dump(mode="json"))
        else:
            self._store.drop(_LAYER, target.host.name)


def _applied(target: Target[Spec, Inputs], now: Observed, change: Change) -> Observed:
    wanted = desired(target)
    name = steps.disk_of(change.what)
    if name is not None:
        return _with_disk(now, wanted, name, change)
    if change.what == steps.MACHINE:
        return _with_machine(now, wanted, change)
    changed: dict[str, Any] = {
        steps.PORTS: {"ports": wanted.ports},
        steps.POWER: {
            "power": "running",
            "answers": True,
            "root_at_boot": _root(now),
            "host_key": wanted.host_key,
            "identity_file": wanted.identity_file,
        },
        steps.BOOT: {"answers": True},
        steps.MARK: {"owned": True, "owner": ""},
    }
    return now.model_copy(update=changed[change.what])


def _root(now: Observed) -> int:
    return now.disks[ROOT].size


def _with_disk(now: Observed, wanted: Observed, name: str, change: Change) -> Observed:
    others = {n: d for n, d in now.disks.items() if n != name}
    if change.action is Action.DELETE:
        return now.model_copy(update={"disks": others})
    return now.model_copy(update={"disks": {**others, name: wanted.disks[name]}})


def _with_machine(now: Observed, wanted: Observed, change: Change) -> Observed:
    extra = {n: d for n, d in now.disks.items() if n != ROOT}
    if change.action is Action.DELETE:
        return Observed(exists=False, disks=extra)
    if change.action in {Action.CREATE, Action.REPLACE}:
        return wanted.model_copy(update={"disks": {ROOT: wanted.disks[ROOT], **extra}})
    names = {_FIELDS.get(f.field, f.field) for f in change.fields}
    if now.power == "stopped":
        names -= _NEEDS_START
    else:
        names |= _NEEDS_START
    return now.model_copy(update={n: getattr(wanted, n) for n in names})
