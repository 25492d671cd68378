"""Locales that programs can use. Which ones, and the default, are lines and files of the recipe."""

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

NAME = "locale"
_DEFINITIONS = "/usr/share/i18n/locales"
_ALIASES = "/usr/share/locale/locale.alias"


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared locales that no system brings by itself."""
    names = spec.locale.generated if spec.locale else ()
    return {name: Wanted({"generated": True}) for name in names}


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One listing."""
    return (
        f"{operands(NAME, wanted)}\nif [ $# != 0 ]; then\n  mark {NAME}; locale -a 2>/dev/null\nfi"
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Those that are there, as they are declared: ``en_US.UTF-8`` is listed as ``en_US.utf8``."""
    names = (line.partition(".") for section in sections for line in section.lines)
    return {
        f"{language}.UTF-8": Thing(fields={"generated": True})
        for language, _, charset in names
        if charset.lower().replace("-", "") == "utf8"
    }


def compare(name: str, view: View) -> Change | Blocker | None:
    """Generate it."""
    return compared(NAME, name, view)


def prune(name: str, view: View) -> Change:
    """Delete it."""
    return pruned(NAME, name, view)


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a locale: generating takes seconds."""
    return [Step((c,), _script(c, name_of(c) in wanted), deadline=300.0) for c in changes]


def _script(change: Change, make: bool) -> str:  # noqa: FBT001
    name, thing = name_of(change), quote(change.what)
    language = name.partition(".")[0]
    if not make:
        listed = quote(f"{language}.utf8")
        return f"localedef --delete-from-archive {listed} 2>/dev/null || :\ndisown {thing}"
    return (
        f"[ -e {_DEFINITIONS}/{language} ] || "
        f"{{ echo 'there is no locale {language} in {_DEFINITIONS}'; exit 1; }}\n"
        f"own {thing} made\n"
        f"localedef -i {language} -c -f UTF-8 -A {_ALIASES} {quote(name)}"
    )
