"""Symbolic links. What was there before, whatever it was, is kept and comes back at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.model.plan import Action, Blocker, Change, FieldDiff
from layers.l3_system.kinds.directory import kind_of
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
    with_reload,
)
from layers.l3_system.spec import Spec, Thing

NAME = "link"


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared links."""
    return {
        path: Wanted({"target": link.target}, check="exists" if link.exists else "")
        for path, link in spec.links.items()
    }


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One stat for all."""
    return (
        f"{operands(NAME, wanted)}\nmark {NAME}\n[ $# = 0 ] || "
        "QUOTING_STYLE=literal stat -c '%f\t%Y\t%n\t%N' -- \"$@\" 2>/dev/null"
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Where each leads; ``None`` for what is no link."""
    found = {}
    for line in (line for section in sections for line in section.lines):
        mode, changed, path, shown = line.split("\t", 3)
        kind = kind_of(mode)
        facts = {"kind": kind, "changed": int(changed)}
        target = _target(path, shown) if kind == "symlink" else None
        found[path] = Thing(fields={"target": target}, facts=facts)
    return found


def _target(path: str, shown: str) -> str:
    """``path -> target``; busybox and old coreutils put both into quotes."""
    plain = shown.removeprefix(f"{path} -> ")
    return plain if plain != shown else shown.removeprefix(f"'{path}' -> '").removesuffix("'")


def compare(name: str, view: View) -> Change | Blocker | None:
    """Make it, or let it lead elsewhere; it may take the place of a file."""
    wanted, found = view.wanted[NAME][name], view.found(NAME, name)
    if found is None:
        return created(NAME, name, wanted)
    kind = found.facts.get("kind", "symlink")
    if kind == "directory":
        return Blocker(f"{NAME} {name}", "a directory is in its place", f"move {name} away")
    before, after = found.fields["target"], wanted.fields["target"]
    if before == after:
        return None
    diffs = [FieldDiff("target", before, after)]
    if kind != "symlink":
        diffs.append(FieldDiff("kind", kind, "symlink"))
    return Change(Action.UPDATE, f"{NAME} {name}", tuple(diffs))


def prune(name: str, view: View) -> Change:
    """Remove it; or put back what was there before us."""
    if view.found(NAME, name) is not None and is_found(NAME, name, view):
        return Change(
            Action.UPDATE,
            f"{NAME} {name}",
            reason="no longer declared; what was there before comes back",
        )
    return pruned(NAME, name, view)


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a link."""
    return with_reload([Step((c,), _script(c, wanted.get(name_of(c)))) for c in changes])


def _script(change: Change, wanted: Wanted | None) -> str:
    path, thing = quote(name_of(change)), quote(change.what)
    if wanted is None:
        back = f"restore {path}" if change.action is Action.UPDATE else f"rm -f {path}"
        return f"{back}\ndisown {thing}"
    target = quote(str(wanted.fields["target"]))
    return (
        f"beside {path}\n"
        f'ln -s -- {target} "$new"\n'
        + (f'[ -e "$new" ] || {{ echo "there is no "{target}; exit 1; }}\n' if wanted.check else "")
        + f"keep {thing} {path}\nplace {path}"
    )
