"""Packages: present. One transaction for all; only what we installed is ever removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.model.plan import Action, Blocker, Change
from layers.l3_system.kinds import apt as family
from layers.l3_system.kinds.kind import (
    Place,
    Section,
    Step,
    View,
    Wanted,
    created,
    name_of,
    operands,
    pruned,
    quote,
    updated,
)
from layers.l3_system.spec import Spec, Thing

NAME = "package"
_DEADLINE = 1800.0


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared packages, in any version."""
    return {name: Wanted({"state": "installed"}) for name in spec.packages}


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One query for the named packages."""
    return f"{operands(NAME, wanted)}\nmark {NAME}\n{family.PROBE}"


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Installed or half-way ones; removed ones whose configuration stayed are absent."""
    found: dict[str, Thing] = {}
    for section in sections:
        if section.words:
            return {"": Thing(facts={"unknown": True})}
        for line in section.lines:
            name, abbreviation, version = (*line.split("\t"), "", "")[:3]
            state = family.state(abbreviation)
            if state and (name not in found or state == "installed"):
                found[name] = Thing(fields={"state": state}, facts={"version": version})
    return found


def compare(name: str, view: View) -> Change | Blocker | None:
    """Install it, or finish what was interrupted."""
    if view.found(NAME, "") is not None:
        return Blocker(
            f"package {name}",
            "the host has no dpkg, and no other package family is known yet",
            "take a base of the Debian family, or leave packages out",
        )
    found = view.found(NAME, name)
    if found is None:
        return created(NAME, name, view.wanted[NAME][name], deadline=_DEADLINE)
    return updated(NAME, name, view.wanted[NAME][name], found)


def prune(name: str, view: View) -> Change:
    """Remove it, unless something else needs it."""
    return pruned(NAME, name, view, "kept if another package needs it")


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:  # noqa: ARG001
    """One transaction for those that come, one for those that go."""
    out = []
    gone = [c for c in changes if c.action is Action.DELETE]
    come = [c for c in changes if c.action is not Action.DELETE]
    if gone:
        names = [name_of(c) for c in gone if c.fields]  # without fields: gone already
        forget = "\n".join(f"disown {quote(c.what)}" for c in gone)
        script = f"{family.remove(names)}\n{forget}" if names else forget
        out.append(Step(tuple(gone), script, deadline=_DEADLINE))
    if come:
        names = [name_of(c) for c in come]
        own = "".join(f"own {quote(c.what)} made\n" for c in come if c.action is Action.CREATE)
        out.append(Step(tuple(come), own + family.install(names), deadline=_DEADLINE))
    return out
