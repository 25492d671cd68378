"""Paths at which nothing must be. A file is kept and comes back when nobody declares it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.model.plan import Action, Blocker, Change, FieldDiff
from layers.l3_system.kinds.kind import (
    Place,
    Section,
    Step,
    View,
    Wanted,
    is_found,
    name_of,
    operands,
    pruned,
    quote,
    with_reload,
)
from layers.l3_system.spec import Spec, Thing

NAME = "absent"
_FULL = "directory that is not empty"

# A mount within it is somebody's data elsewhere: the whole of it stays.
_ALL = """while read -r _ m _; do case $m in "$1"|"$1"/*)
  echo "$m is mounted: umount it first"; exit 1 ;; esac; done </proc/self/mounts
"""
_REFUSED = 'echo "$1 is not empty"; exit 1'


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared absences; one that goes with all that is in it has the check ``recursive``."""
    return {
        path: Wanted({"there": None}, check="recursive" if absent.recursive else "")
        for path, absent in spec.absences.items()
    }


def probe(wanted: Mapping[str, Wanted]) -> str:
    """Nothing is spawned: the shell looks by itself."""
    return (
        f"{operands(NAME, wanted)}\nmark {NAME}\n"
        'for p in "$@"; do\n'
        '  if [ -L "$p" ]; then k=link; elif [ -d "$p" ]; then k="empty directory"\n'
        '    for f in "$p"/* "$p"/.[!.]* "$p"/..?*; do\n'
        f'      if [ -e "$f" ] || [ -L "$f" ]; then k="{_FULL}"; break; fi; done\n'
        '  elif [ -e "$p" ]; then k=file; else k=; fi\n'
        '  printf \'%s\\t%s\\n\' "$k" "$p"\ndone'
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """What is at each path, ``None`` where nothing is."""
    rows = (line.partition("\t") for section in sections for line in section.lines)
    return {path: Thing(fields={"there": kind or None}) for kind, _, path in rows}


def compare(name: str, view: View) -> Change | Blocker | None:
    """Remove what is there; a directory with something in it only where that is declared."""
    found, recursive = view.found(NAME, name), bool(view.wanted[NAME][name].check)
    what = f"{NAME} {name}"
    if found is None:  # the machine is still to be made
        unknown = (FieldDiff("there", None, None),)
        return Change(Action.DELETE, what, unknown, reason="if it is there")
    there = found.fields["there"]
    if there is None:
        return None
    if there == _FULL and not recursive:
        hint = f"absent: {{{name}: {{recursive: true}}}}, or move it away"
        return Blocker(what, f"a {_FULL} is there", hint)
    destroys = f"{name} and all that is in it" if there == _FULL else ""
    return Change(Action.DELETE, what, (FieldDiff("there", there, None),), destroys=destroys)


def prune(name: str, view: View) -> Change:
    """Put back what was there before us."""
    if is_found(NAME, name, view):
        return Change(
            Action.UPDATE,
            f"{NAME} {name}",
            reason="no longer declared; what was there before comes back",
        )
    return pruned(NAME, name, view)


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a path."""
    return with_reload([Step((c,), _script(c, wanted.get(name_of(c)))) for c in changes])


def _script(change: Change, wanted: Wanted | None) -> str:
    path, thing = quote(name_of(change)), quote(change.what)
    if wanted is None:
        # what a person put there meanwhile stays
        back = f"[ -e {path} ] || [ -L {path} ] || restore {path}; rm -rf $lib/originals{path}\n"
        return f"{back if change.action is Action.UPDATE else ''}disown {thing}"
    full = f'{_ALL}  own {thing} destroyed; rm -rf -- "$1"'
    return (
        f"set -- {path}\n"
        'if [ -d "$1" ] && [ ! -L "$1" ] && [ -n "$(ls -A "$1")" ]; then\n'
        f"  {full if wanted.check else _REFUSED}\n"
        'elif [ -e "$1" ] || [ -L "$1" ]; then\n'
        f'  keep {thing} "$1"\n'
        '  if [ -L "$1" ] || [ ! -d "$1" ]; then rm -f "$1"; else rmdir "$1"; fi\n'
        "fi"
    )
