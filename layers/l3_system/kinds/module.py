"""Modules of the kernel: loaded. Files for the next boot are the recipe's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.model.plan import Blocker, Change
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
from layers.l3_system.spec import Spec, Thing

NAME = "module"


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared modules, as the kernel spells them."""
    return {name: Wanted({"loaded": True}) for name in spec.modules}


def probe(wanted: Mapping[str, Wanted]) -> str:
    """Nothing is spawned but one grep where a module is neither loaded nor seen to be built in."""
    return (
        f"{operands(NAME, wanted)}\nif [ $# != 0 ]; then\n  mark {NAME}; missing=\n"
        '  for n in "$@"; do if [ -d "/sys/module/$n" ]; then printf "%s\\n" "$n"\n'
        '  else missing="$missing -e /$n.ko"; fi; done\n'
        '  if [ -n "$missing" ] && read -r r </proc/sys/kernel/osrelease; then\n'
        '    tr - _ 2>/dev/null <"/lib/modules/$r/modules.builtin" | grep $missing; fi\nfi'
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Those that are there; one that is built in is there for good."""
    names = (line.rpartition("/")[2] for section in sections for line in section.lines)
    return {name.partition(".ko")[0]: Thing(fields={"loaded": True}) for name in names}


def compare(name: str, view: View) -> Change | Blocker | None:
    """Load it."""
    return compared(NAME, name, view)


def prune(name: str, view: View) -> Change:
    """Unload it."""
    return pruned(NAME, name, view, "stays until the next boot if something uses it")


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a module."""
    return [Step((change,), _script(change, name_of(change) in wanted)) for change in changes]


def _script(change: Change, load: bool) -> str:  # noqa: FBT001
    name, thing = quote(name_of(change)), quote(change.what)
    if load:
        return f"own {thing} made\nmodprobe -- {name}"
    return f"modprobe -r -- {name} 2>/dev/null || :\ndisown {thing}"
