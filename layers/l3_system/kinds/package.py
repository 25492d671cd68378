"""Packages: there or absent, in a version, held. One transaction for all that comes and goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from lab.model.plan import Action, Blocker, Change, FieldDiff
from layers.l3_system.kinds import apt
from layers.l3_system.kinds.family import Family, Work
from layers.l3_system.kinds.kind import (
    Place,
    Section,
    Step,
    View,
    Wanted,
    created,
    is_found,
    name_of,
    operands,
    pruned,
    quote,
)
from layers.l3_system.spec import Spec, Thing
from layers.l3_system.spec.types import DATABASE

NAME = "package"
_DEADLINE = 3600.0
_GONE = {"absent", "removed"}
_FAMILY: Family = apt


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared packages, and that the host's own record of them is whole."""
    things = {DATABASE: Wanted({"state": "whole"})} if spec.packages else {}
    for name, package in spec.packages.items():
        fields: dict[str, object] = {"state": package.state}
        for field in ("version", "hold"):
            if getattr(package, field) is not None:
                fields[field] = getattr(package, field)
        more = {"purge": True} if package.purge else {}
        things[name] = Wanted(fields, absent=package.absent, more=more)
    return things


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One look at all of them."""
    packages = {name: w for name, w in wanted.items() if name != DATABASE}
    asked = {n: str(w.fields.get("version", "")) for n, w in packages.items() if not w.absent}
    return f"{operands(NAME, packages)}\n{_FAMILY.probe(asked)}"


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Installed and half-way ones, and those whose configuration stayed."""
    return _FAMILY.parse(sections)


def compare(name: str, view: View) -> Change | Blocker | None:
    """Install, remove, up- or downgrade, hold it; or finish what was interrupted."""
    wanted, found = view.wanted[NAME][name], view.found(NAME, name)
    if name == DATABASE:
        return None if found is None else _repaired(found)
    if view.found(NAME, "") is not None:
        return Blocker(
            f"package {name}",
            "the host has no dpkg, and no other package family is known yet",
            "take a base of the Debian family, or leave packages out",
        )
    state = found.fields["state"] if found else "absent"
    if wanted.absent:
        return _removed(name, wanted, found)
    if found is None or state in _GONE:
        return created(NAME, name, wanted, reason=_offer(name, wanted, view))
    diffs = [
        FieldDiff(f, before, after)
        for f, after in wanted.fields.items()
        if not _meets(f, before := _value(found, f), after)
    ]
    if not diffs:
        return None
    reason = _offer(name, wanted, view) if any(d.field == "version" for d in diffs) else ""
    return Change(Action.UPDATE, f"{NAME} {name}", tuple(diffs), reason=reason)


def _repaired(found: Thing) -> Change | None:
    if found.fields["state"] == "whole":
        return None
    diff = FieldDiff("state", found.fields["state"], "whole")
    return Change(
        Action.UPDATE, f"{NAME} {DATABASE}", (diff,), reason="finish what was interrupted"
    )


def _value(found: Thing, field: str) -> Any:
    return found.fields.get(field, found.facts.get(field))


def _meets(field: str, before: object, after: object) -> bool:
    if field == "version":
        return fnmatchcase(str(before), str(after))
    return bool(before) == after if field == "hold" else before == after


def _offer(name: str, wanted: Wanted, view: View) -> str:
    """Which version is on offer, where the look could tell; it may have moved when it is done."""
    database = view.found(NAME, DATABASE)
    offers = database.facts.get("offers", {}).get(name, []) if database else []
    like = str(wanted.fields.get("version", "*"))
    fits = next((v for v in offers if fnmatchcase(v, like)), None)
    return f"{fits} is on offer" if fits and fits != like else ""


def _removed(name: str, wanted: Wanted, found: Thing | None) -> Change | None:
    purge = bool(wanted.more.get("purge"))
    state = found.fields["state"] if found else "absent"
    if found is None or state == "absent" or (state == "removed" and not purge):
        return None
    return Change(
        Action.DELETE,
        f"{NAME} {name}",
        _lost(found),
        reason="declared absent",
        destroys=f"the configuration of {name}, and what its own scripts delete" if purge else "",
    )


def _lost(found: Thing) -> tuple[FieldDiff, ...]:
    version = found.facts.get("version")
    fields = {**found.fields, **({"version": version} if version else {})}
    return tuple(FieldDiff(f, v, None) for f, v in fields.items())


def prune(name: str, view: View) -> Change:
    """Remove what we installed; what was there before is only no longer held."""
    found = view.found(NAME, name)
    if found is None or found.fields["state"] in _GONE:
        return Change(
            Action.DELETE, f"{NAME} {name}", reason="no longer declared, and gone: only forgotten"
        )
    if not is_found(NAME, name, view):
        return Change(
            Action.DELETE,
            f"{NAME} {name}",
            _lost(found),
            reason=pruned(NAME, name, view, "stays if something needs it").reason,
        )
    held, was = bool(_value(found, "hold")), view.observed.owned[f"{NAME} {name}"].endswith("held")
    return Change(
        Action.UPDATE,
        f"{NAME} {name}",
        (FieldDiff("hold", held, was),) if held != was else (),
        reason="no longer declared; it was there before and stays as it is",
    )


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One transaction, after what was interrupted is finished."""
    gone = [c for c in changes if name_of(c) not in wanted or wanted[name_of(c)].absent]
    work = _work(changes, wanted)
    if not work.anything:
        return [Step(tuple(changes), _disowned(gone) or ":")]
    own = "".join(_recorded(c, wanted) for c in changes if name_of(c) in wanted)
    script = f"{own}{_FAMILY.carry_out(work)}\n{_disowned(gone)}"
    makes = tuple((c.what, "") for c in changes if c.action is Action.CREATE)
    return [Step(tuple(changes), script, deadline=_DEADLINE, ready=_FAMILY.READY, makes=makes)]


def _disowned(changes: Sequence[Change]) -> str:
    return "\n".join(f"disown {quote(c.what)}" for c in changes)


def _work(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> Work:
    named = {name_of(c): {d.field: d for d in c.fields} for c in changes}
    database = named.pop(DATABASE, None)
    leave = {name_of(c) for c in changes if c.action is Action.DELETE}
    keep = {n: d for n, d in named.items() if n not in leave}
    gone = [n for n in named if n in leave and n in wanted]
    held = {n: d["hold"] for n, d in keep.items() if "hold" in d}
    return Work(
        come={
            n: str(wanted[n].fields.get("version", ""))
            for n, d in keep.items()
            if n in wanted and {"state", "version"} & set(d)
        },
        go=[n for n in gone if named[n]["state"].before != "removed"],
        # without fields: gone already
        fade=[n for n in named if n in leave and n not in wanted and named[n]],
        purge=[n for n in gone if wanted[n].more.get("purge")],
        hold=[n for n, d in held.items() if d.after and not d.before],
        unhold=[n for n, d in held.items() if d.before and not d.after],
        repair=database is not None,
    )


def _recorded(change: Change, wanted: Mapping[str, Wanted]) -> str:
    """What the ledger is told of a package that is there; finishing and removing leave nothing."""
    name, diffs = name_of(change), {d.field: d for d in change.fields}
    if change.action is not Action.UPDATE or not {"version", "hold"} & set(diffs):
        return ""
    held = diffs["hold"].before if "hold" in diffs else wanted[name].fields.get("hold")
    return f"own {quote(change.what)} {quote('found held' if held else 'found')}\n"
