"""Files to swap to: made whole, used now and at every boot. What lies in them is of no worth.

A file that we did not make is never touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.model.plan import Action, Blocker, Change, FieldDiff
from lab.model.units import parse_size, show_size_exact
from layers.l3_system.kinds.directory import STAT, stats
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
)
from layers.l3_system.spec import Spec, Thing

NAME = "swap"
_DEADLINE = 1800.0

_OFF = 'if grep -q "^$1 " /proc/swaps; then swapoff "$1"; fi'
_MAKE = """free=$(df -Pk "${1%/*}/" | awk 'NR == 2 { print $4 }')
[ "$free" -gt $((SIZE / 1024)) ] || { echo "only $free KiB are free there"; exit 1; }
beside "$1"; ( umask 077; : >"$new" ); chattr +C "$new" 2>/dev/null || :
fallocate -l SIZE "$new" 2>/dev/null || head -c SIZE /dev/zero >"$new"
mkswap "$new" >/dev/null; place "$1"
"""


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared files."""
    return {
        path: Wanted({"size": show_size_exact(size), "mode": "0600", "on": True, "boot": True})
        for path, size in spec.swap.items()
    }


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One stat for all; the shell reads both tables by itself."""
    return (
        f"{operands(NAME, wanted)}\nif [ $# != 0 ]; then\n"
        f"  mark {NAME} tables; [ ! -r /etc/fstab ] || show /etc/fstab fstab:\n"
        "  [ ! -r /proc/swaps ] || show /proc/swaps swaps:\n"
        f'  mark {NAME} stat; {STAT} -- "$@" 2>/dev/null\nfi'
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """What is at each path, whether it is in use and will be."""
    lines = {s.words[0]: s.lines for s in sections}
    rows = [line.partition(":") for line in lines.get("tables", ())]
    on = {text.split()[0] for name, _, text in rows if name == "swaps" and text.split()}
    boot = {
        text.split()[0]
        for name, _, text in rows
        if name == "fstab" and not text.lstrip().startswith("#") and text.split()[2:3] == ["swap"]
    }
    found = {}
    for path, thing in stats(lines.get("stat", ())):
        fields = {
            "size": show_size_exact(int(thing.facts["size"])),
            "mode": thing.fields["mode"],
            "on": path in on,
            "boot": path in boot,
        }
        found[path] = Thing(fields=fields, facts={"kind": thing.facts["kind"]})
    return found


def compare(name: str, view: View) -> Change | Blocker | None:
    """Make it, make it anew in another size, or use it."""
    wanted, found = view.wanted[NAME][name], view.found(NAME, name)
    what = f"{NAME} {name}"
    if found is None:
        return created(NAME, name, wanted, deadline=_DEADLINE)
    diffs = tuple(
        FieldDiff(f, found.fields.get(f), v)
        for f, v in wanted.fields.items()
        if found.fields.get(f) != v
    )
    if not diffs:
        return None
    if what not in view.observed.owned:
        return Blocker(what, "a file that Strata did not make is there", f"move {name} away")
    again = any(d.field == "size" for d in diffs)
    action = Action.REPLACE if again else Action.UPDATE
    return Change(action, what, diffs, deadline=_DEADLINE)


def prune(name: str, view: View) -> Change:
    """Swap to it no longer, and remove it."""
    return pruned(NAME, name, view)


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a file."""
    return [Step((c,), _script(c, wanted.get(name_of(c))), deadline=_DEADLINE) for c in changes]


def _script(change: Change, wanted: Wanted | None) -> str:
    path, thing = quote(name_of(change)), quote(change.what)
    if wanted is None:
        return f'set -- {path}\n{_OFF}\nfstab "$1" \'\' 1\nrm -f "$1"\ndisown {thing}'
    changed = {d.field for d in change.fields}
    lines = [f"set -- {path}"]
    if "size" in changed:
        size = str(parse_size(wanted.fields["size"]))
        lines += [
            f'[ -n "$(how {thing})" ] || [ ! -e "$1" ] || {{ echo "$1 is not ours"; exit 1; }}',
            f"own {thing} made",
            f'{_OFF}\nrm -f "$1"',
            _MAKE.replace("SIZE", size).rstrip(),
        ]
    line = f"{name_of(change)} none swap sw,nofail 0 0"
    lines += [
        'chmod 600 "$1"',
        f'fstab "$1" {quote(line)} 1',
        'grep -q "^$1 " /proc/swaps || swapon "$1"',
    ]
    return "\n".join(lines)
