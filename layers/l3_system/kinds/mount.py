"""Mounts: a line of fstab, and mounted now."""

from __future__ import annotations

import re
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

NAME = "mount"
_ESCAPE = re.compile(r"\\([0-7]{3})")
SHOW_TABLES = "[ ! -r /etc/fstab ] || show /etc/fstab fstab:; show /proc/self/mounts mounts:"


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared mounts."""
    return {
        path: Wanted(
            {"source": m.source, "type": m.type, "options": m.options, "mounted": True},
            check="made" if m.source in spec.directories else "",
        )
        for path, m in sorted(spec.mounts.items(), key=lambda item: _order(item[0], spec))
    }


def _order(path: str, spec: Spec) -> tuple[int, int]:
    """After what it is mounted from, and after the folders above it."""
    source, steps = path, 0
    while steps <= len(spec.mounts) and source in spec.mounts:
        wanted = f"{spec.mounts[source].source}/"
        source = next((p for p in spec.mounts if wanted.startswith(f"{p}/") and p != source), "")
        steps += 1
    return steps, path.count("/")


def files_first(changes: Sequence[Change], spec: Spec) -> list[Change]:
    """The changes, with files that a mount's options name (credentials) before the mounts."""
    options = ",".join(m.options for m in spec.mounts.values())
    named = {f"file {word.partition('=')[2]}" for word in options.split(",")}
    first = [c for c in changes if c.what in named]
    at = next((i for i, c in enumerate(changes) if c.what.startswith(f"{NAME} ")), len(changes))
    if at == len(changes) or not first:
        return list(changes)
    rest = [c for c in changes if c.what not in named]
    at -= sum(c.what in named for c in changes[:at])
    return [*rest[:at], *first, *rest[at:]]


def probe(wanted: Mapping[str, Wanted]) -> str:
    """Nothing is spawned: the shell reads both tables by itself."""
    return f"{operands(NAME, wanted)}\nif [ $# != 0 ]; then\n  mark {NAME}; {SHOW_TABLES}\nfi"


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Every line of fstab by where it mounts; plus what is mounted there without one."""
    table, mounted = tables([line for section in sections for line in section.lines])
    found = {
        path: Thing(
            fields={"source": row[0], "type": row[2], "options": row[3], "mounted": path in mounted}
        )
        for path, row in table.items()
    }
    for path in mounted - set(table):
        found[path] = Thing(fields={"mounted": True})
    return found


def tables(lines: Sequence[str]) -> tuple[dict[str, list[str]], set[str]]:
    """Lines of fstab by mount point, and the points where something is mounted."""
    table: dict[str, list[str]] = {}
    mounted: set[str] = set()
    for line in lines:
        name, _, text = line.partition(":")
        row = [decoded(word) for word in text.split()]
        if len(row) < 4 or row[0].startswith("#"):  # noqa: PLR2004 (source, point, type, options)
            continue
        if name == "mounts":
            mounted.add(row[1])
        else:
            table[row[1]] = row
    return table, mounted


def encoded(word: str) -> str:
    """A word of fstab, its blanks as octal numbers."""
    return word.replace("\\", "\\134").replace(" ", "\\040")


def decoded(word: str) -> str:
    """The same read back, as the kernel writes it too."""
    return _ESCAPE.sub(lambda m: chr(int(m[1], 8)), word)


def compare(name: str, view: View) -> Change | Blocker | None:
    """Write the line and mount it."""
    return compared(NAME, name, view)


def prune(name: str, view: View) -> Change:
    """Unmount it and drop the line."""
    return pruned(NAME, name, view)


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a mount."""
    return [Step((change,), _script(change, wanted.get(name_of(change)))) for change in changes]


def _script(change: Change, wanted: Wanted | None) -> str:
    path, thing = quote(name_of(change)), quote(change.what)
    key = quote(encoded(name_of(change)))
    if change.action is Action.DELETE or wanted is None:
        return (
            f"was=$(how {thing}); case $was in found*) was=${{was#found }} ;; *) was= ;; esac\n"
            f'{unmount(path)}\nfstab {key} "$was"\n[ -z "$was" ] || mount {path}\n'
            f"disown {thing}"
        )
    source, kind, options = (str(wanted.fields[f]) for f in ("source", "type", "options"))
    words = (encoded(source), encoded(name_of(change)), kind, options, "0 0")
    changed = {d.field for d in change.fields}
    row = '!/^[ \\t]*#/ && $2 == ENVIRON["at"] { $1 = $1; print }'
    lines = [
        f"was=; [ ! -e /etc/fstab ] || was=$(at={key} awk '{row}' /etc/fstab)",
        f'own {thing} "${{was:+found }}${{was:-made}}"',
        f"mkdir -p {path}",
    ]
    if wanted.check:  # a declared directory: its mode and owner follow
        lines.append(f"mkdir -p {quote(source)}")
    if change.action is Action.UPDATE and changed & {"source", "type"}:
        lines.append(unmount(path))
    lines.append(f"fstab {key} {quote(' '.join(words))}")
    lines.append(
        f"if mountpoint -q {path}; then set -- -o remount {path}; else set -- {path}; fi\n"
        # its last line, about dmesg, is not the cause
        'said=$(mount "$@" 2>&1) || { printf "%s\\n" "$said" | grep -v dmesg; exit 1; }'
    )
    return "\n".join(lines)


def unmount(path: str) -> str:
    """Shell that unmounts ``path`` (quoted) if something is mounted there."""
    return f"if mountpoint -q {path}; then umount {path}; fi"
