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
_CONF = "/etc/sysctl.d/99-zz-strata-"  # after 99-sysctl.conf: the last file counts
_FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared settings: the running value and the one for the next boot."""
    return {key: Wanted({"value": value, "boot": value}) for key, value in spec.sysctl.items()}


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One grep for all: read byte by byte, as the shell does, the kernel gives only the first."""
    others = " ".join(f"{folder}/*.conf" for folder in _FOLDERS)
    return (
        f"{operands(NAME, wanted)}\nif [ $# != 0 ]; then\n  files=\n"
        '  for n in "$@"; do\n'
        f"    p={_ROOT}; IFS=.; set -f; for w in $n; do p=$p/$w; done; unset IFS; set +f\n"
        f'    files="$files $p {_CONF}$n.conf"\n'
        "  done\n"
        f"  mark {NAME}; grep -H '' $files {others} 2>/dev/null\nfi"
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Values with single blanks between their numbers; ``later``: who has the last word at boot."""
    values: dict[str, str] = {}
    files: dict[str, dict[str, dict[str, str]]] = {}  # by name, then by folder: the first counts
    for line in (line for section in sections for line in section.lines):
        path, _, text = line.partition(":")
        folder, _, name = path.rpartition("/")
        if folder in _FOLDERS:
            settings = files.setdefault(name, {}).setdefault(folder, {})
            key, equals, value = text.partition("=")
            if equals and not text.lstrip().startswith(("#", ";")):
                key = key.strip().removeprefix("-").replace("/", ".")
                settings[key] = " ".join(value.split())
        else:
            key = path.removeprefix(f"{_ROOT}/").replace("/", ".")
            values.setdefault(key, " ".join(text.split()))
    found = {}
    for key, value in values.items():
        own = f"{_CONF}{key}.conf".rpartition("/")[2]
        boot = files.get(own, {}).get(_FOLDERS[0], {}).get(key)
        later = _later(key, own, files)
        facts = {"later": later} if later else {}
        found[key] = Thing(fields={"value": value, "boot": boot}, facts=facts)
    return found


def _later(
    key: str, own: str, files: Mapping[str, Mapping[str, Mapping[str, str]]]
) -> tuple[str, str] | None:
    """The file that is read after ours and sets the same, and its value."""
    for name in sorted((n for n in files if n > own), reverse=True):
        folder = min(files[name], key=_FOLDERS.index)
        if key in files[name][folder]:
            return f"{folder}/{name}", files[name][folder][key]
    return None


def compare(name: str, view: View) -> Change | Blocker | None:
    """Set it, and write it down, unless another file has the last word about it."""
    found = view.found(NAME, name)
    path, value = (found.facts.get("later") if found else None) or ("", "")
    if path and value != view.wanted[NAME][name].fields["boot"]:
        return Blocker(
            f"{NAME} {name}",
            f"{path} is read after ours, and sets it to {value} at the next boot",
            f"remove that line, or the file: absent: [{path}]",
        )
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
            f'[ -z "$was" ] || [ ! -e {path} ] || printf "%s\\n" "$was" >{path}\ndisown {thing}'
        )
    value = str(wanted.fields["value"])
    return (
        f"[ -e {path} ] || {{ echo {quote(f'the kernel has no {key}')} >&2; exit 1; }}\n"
        f'own {thing} "found $(cat {path})"\n'
        f"mkdir -p /etc/sysctl.d; printf '%s\\n' {quote(f'{key} = {value}')} >{conf}\n"
        f"printf '%s\\n' {quote(value)} >{path}"
    )
