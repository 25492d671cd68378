"""Directories: mode and owner. What lies in them is never touched."""

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
    is_found,
    name_of,
    operands,
    pruned,
    quote,
)
from layers.l3_system.spec import Spec, Thing

NAME = "directory"
STAT = "stat -c '%f\t%a\t%U\t%G\t%Y\t%s\t%n'"
_KINDS = {0x4000: "directory", 0x8000: "file", 0xA000: "symlink"}


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared directories."""
    return {
        path: Wanted({"mode": d.mode, "owner": d.owner, "group": d.group})
        for path, d in sorted(spec.directories.items(), key=lambda item: item[0].count("/"))
    }


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One stat for all."""
    return f'{operands(NAME, wanted)}\nmark {NAME}\n[ $# = 0 ] || {STAT} -- "$@" 2>/dev/null'


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Mode and owner of what is there, whatever it is."""
    return {path: thing for section in sections for path, thing in stats(section.lines)}


def stats(lines: Sequence[str]) -> list[tuple[str, Thing]]:
    """Paths and what :data:`STAT` said of each."""
    out = []
    for line in lines:
        mode, permissions, owner, group, changed, size, path = line.split("\t", 6)
        fields = {"mode": permissions.rjust(4, "0"), "owner": owner, "group": group}
        facts = {"kind": kind_of(mode), "changed": int(changed), "size": int(size)}
        out.append((path, Thing(fields=fields, facts=facts)))
    return out


def kind_of(mode: str) -> str:
    """``"file"``, ``"directory"``, ``"symlink"`` or ``"special"`` from stat's ``%f``."""
    return _KINDS.get(int(mode, 16) & 0xF000, "special")


def compare(name: str, view: View) -> Change | Blocker | None:
    """Make it, or change its mode and owner; something else in its place is not ours to remove."""
    found = view.found(NAME, name)
    kind = found.facts.get("kind", NAME) if found else NAME
    if kind != NAME:
        return Blocker(f"directory {name}", f"a {kind} is in its place", f"move {name} away")
    return compared(NAME, name, view)


def prune(name: str, view: View) -> Change:
    """Remove it if it is empty; one that was there before gets its mode and owner back."""
    if view.found(NAME, name) is not None and is_found(NAME, name, view):
        return Change(
            Action.UPDATE,
            f"{NAME} {name}",
            reason="no longer declared; it was there before: mode and owner as they were",
        )
    return pruned(NAME, name, view, "kept if something lies in it")


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a directory."""
    return [_step(change, wanted.get(name_of(change))) for change in changes]


def _step(change: Change, wanted: Wanted | None) -> Step:
    makes = ((change.what, name_of(change)),) if change.action is Action.CREATE else ()
    return Step((change,), _script(change, wanted), makes=makes)


def _script(change: Change, wanted: Wanted | None) -> str:
    path, thing = quote(name_of(change)), quote(change.what)
    if change.action is Action.DELETE:
        return f"rmdir {path} 2>/dev/null || :\ndisown {thing}"
    if wanted is None:
        return (
            f"set -- $(how {thing})\n"
            f'[ $# -lt 4 ] || {{ chown "$3:$4" {path}; chmod "$2" {path}; }}\ndisown {thing}'
        )
    mode, owner, group = (str(wanted.fields[f]) for f in ("mode", "owner", "group"))
    return (
        f"if [ -d {path} ]; then own {thing} \"found $(stat -c '%a %U %G' {path})\"\n"
        f"  chmod {mode} {path}\n"
        f"else own {thing} made; mkdir -p -m {mode} {path}; fi\n"
        f"chown {quote(f'{owner}:{group}')} {path}"
    )
