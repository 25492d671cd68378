"""Groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.model.plan import Action, Blocker, Change
from layers.l3_system.kinds.kind import (
    Place,
    Section,
    Step,
    View,
    Wanted,
    compared,
    name_of,
    operands,
    pruned,
    quote,
)
from layers.l3_system.spec import Group, Spec, Thing

NAME = "group"


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared groups; the number only where it is declared."""
    return {name: _wanted(group) for name, group in spec.groups.items()}


def _wanted(group: Group) -> Wanted:
    fields = {} if group.gid is None else {"gid": group.gid}
    return Wanted(fields, absent=group.state == "absent", more={"system": group.system})


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One getent for all."""
    return f'{operands(NAME, wanted)}\nmark {NAME}\n[ $# = 0 ] || getent group -- "$@"'


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Name and number."""
    rows = [line.split(":") for section in sections for line in section.lines]
    return {r[0]: Thing(fields={"gid": int(r[2])}) for r in rows if len(r) > 2 and r[2].isdigit()}  # noqa: PLR2004


def compare(name: str, view: View) -> Change | Blocker | None:
    """Make it, renumber it, or remove it."""
    if not view.wanted[NAME][name].absent:
        return compared(NAME, name, view)
    if view.found(NAME, name) is None:
        return None
    gone = pruned(NAME, name, view)
    return Change(Action.DELETE, gone.what, gone.fields, reason="declared absent")


def prune(name: str, view: View) -> Change:
    """Remove it."""
    return pruned(NAME, name, view)


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a group."""
    return [_step(change, wanted) for change in changes]


def _step(change: Change, wanted: Mapping[str, Wanted]) -> Step:
    makes = ((change.what, ""),) if change.action is Action.CREATE else ()
    return Step((change,), _script(change, wanted), makes=makes)


def _script(change: Change, wanted: Mapping[str, Wanted]) -> str:
    name, thing = quote(name_of(change)), quote(change.what)
    if change.action is Action.DELETE:
        return f"if getent group {name} >/dev/null; then groupdel {name}; fi\ndisown {thing}"
    group = wanted[name_of(change)]
    gid = group.fields.get("gid")
    number = "" if gid is None else f"-g {gid} "
    if change.action is Action.UPDATE:
        return f"groupmod {number}{name}"
    kind = "-r " if group.more.get("system") else ""
    return f"getent group {name} >/dev/null || groupadd {kind}{number}{name}"
