"""Kernel settings: now, and at every boot by a file of their own."""

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
from layers.l3_system.spec import Spec, Thing

NAME = "sysctl"
_ROOT = "/proc/sys"
_CONF = "/etc/sysctl.d/90-strata-"


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared settings: the running value and the one for the next boot."""
    return {key: Wanted({"value": value, "boot": value}) for key, value in spec.sysctl.items()}


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One grep for all: read byte by byte, as the shell does, the kernel gives only the first."""
    return (
        f"{operands(NAME, wanted)}\nif [ $# != 0 ]; then\n  files=\n"
        '  for n in "$@"; do\n'
        f"    p={_ROOT}; IFS=.; set -f; for w in $n; do p=$p/$w; done; unset IFS; set +f\n"
        f'    files="$files $p {_CONF}$n.conf"\n'
        "  done\n"
        f"  mark {NAME}; grep -H '' $files 2>/dev/null\nfi"
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Values with single blanks between their numbers."""
    values: dict[str, str] = {}
    boots: dict[str, str] = {}
    for line in (line for section in sections for line in section.lines):
        path, _, text = line.partition(":")
        if path.startswith(_CONF):
            value = " ".join(text.partition("=")[2].split())
            boots.setdefault(path.removeprefix(_CONF).removesuffix(".conf"), value)
        else:
            key = path.removeprefix(f"{_ROOT}/").replace("/", ".")
            values.setdefault(key, " ".join(text.split()))
    return {k: Thing(fields={"value": v, "boot": boots.get(k)}) for k, v in values.items()}


def compare(name: str, view: View) -> Change | Blocker | None:
    """Set it, and write it down."""
    return compared(NAME, name, view)


def prune(name: str, view: View) -> Change:
    """Remove the file, and give the setting the value it had."""
    return pruned(NAME, name, view, "gets the value it had before")


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a setting."""
    return [Step((change,), _script(change, wanted.get(name_of(change)))) for change in changes]


def _script(change: Change, wanted: Wanted | None) -> str:
    key, thing = name_of(change), quote(change.what)
    path = quote(f"{_ROOT}/{key.replace('.', '/')}")
    conf = quote(f"{_CONF}{key}.conf")
    if change.action is Action.DELETE or wanted is None:
        return (
            f"rm -f {conf}; was=$(how {thing}); was=${{was#found}}; was=${{was# }}\n"
            f'[ -z "$was" ] || [ ! -e {path} ] || [ "$(cat {path})" = "$was" ] || '
            f'printf "%s\\n" "$was" >{path}\ndisown {thing}'
        )
    value = str(wanted.fields["value"])
    return (
        f"[ -e {path} ] || {{ echo {quote(f'the kernel has no {key}')} >&2; exit 1; }}\n"
        f'own {thing} "found $(cat {path})"\n'
        f"mkdir -p /etc/sysctl.d; printf '%s\\n' {quote(f'{key} = {value}')} >{conf}\n"
        f"printf '%s\\n' {quote(value)} >{path}"
    )
