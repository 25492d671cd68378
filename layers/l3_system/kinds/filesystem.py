"""Data disks of the machine: a filesystem on a blank disk, mounted, growing with its disk.

A disk that holds anything we did not put there is never formatted: that is a blocker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.model.plan import Action, Blocker, Change, FieldDiff
from lab.model.units import show_size
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
from layers.l3_system.kinds.mount import SHOW_TABLES, tables, unmount
from layers.l3_system.spec import Spec, Thing

NAME = "filesystem"
_BY_ID = "/dev/disk/by-id/virtio-"
_POINT = '"$p"'
_OPTIONS = "defaults,nofail"
_TYPE = "ext4"
_SECTOR = 512
_LABEL_LENGTH = 16  # of ext4
# ext4 leaves the end of a disk unused where a last block group would not pay.
_SLACK = 16 * 1024**2

_THERE = """[ -b "$d" ] || { echo "the machine has no disk $d: lab converge l2" >&2; exit 1; }"""
_BLANK = """if [ -n "$(blkid -p "$d" || :)" ] || [ -n "$(wipefs -n -p "$d")" ] || \
[ "$(lsblk -nro NAME "$d" | grep -c .)" != 1 ]; then
  echo "$d is not blank: nothing was written" >&2; exit 1
fi
"""


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Disks with a mount; the source is the disk's own name, which no other disk can have."""
    return {
        name: Wanted(
            {"type": _TYPE, "label": name[:_LABEL_LENGTH], "mount": f.mount, "mounted": True},
            size=f.size or 0,
        )
        for name, f in spec.filesystems.items()
    }


def probe(wanted: Mapping[str, Wanted]) -> str:
    """A readlink and a blkid a disk; lsblk only where a disk seems blank."""
    return (
        f"{operands(NAME, wanted)}\n"
        f"[ $# = 0 ] || {{ mark {NAME} tables; {SHOW_TABLES}; }}\n"
        'for n in "$@"; do\n'
        f'  d={_BY_ID}$n; [ -b "$d" ] || continue\n'
        # the serial is the disk's name: without a match a link is followed, which costs a process
        "  k=; for f in /sys/block/*/serial; do\n"
        '    v=; read -r v <"$f" 2>/dev/null; [ "$v" != "$n" ] || k=${f%/serial}; done\n'
        '  [ -n "$k" ] || { k=$(readlink -f "$d"); k=/sys/class/block/${k##*/}; }\n'
        '  s=0; read -r s <"$k/size"; mark filesystem disk "$n" "$s"\n'
        '  b=$(blkid -p -o export "$d"); r=$?; printf "%s\\n" "$b"\n'
        "  [ $r != 8 ] || echo AMBIGUOUS=1\n"
        '  case $b in *PTTYPE=*|*TYPE=*) ;; *) lsblk -nro NAME,FSTYPE "$d" '
        '| sed "1d;s/^/PART=/" ;; esac\n'
        '  case $b in *FSLASTBLOCK=*) ;; *TYPE=ext4*) dumpe2fs -h "$d" 2>/dev/null '
        '| sed -n "s/^Block count: */FSLASTBLOCK=/p;s/^Block size: */FSBLOCKSIZE=/p" ;; esac\n'
        "done"
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """What is on each disk, and where it is mounted; ``facts["disk"]`` is the disk's bytes."""
    lines = [line for s in sections if s.words[0] == "tables" for line in s.lines]
    table, mounted = tables(lines)
    points = {row[0]: point for point, row in table.items()}
    found = {"": Thing()} if sections else {}  # says that it was looked at
    for section in sections:
        if section.words[0] != "disk":
            continue
        name, sectors = section.words[1:3]
        tags = dict(line.split("=", 1) for line in section.lines if "=" in line)
        point = points.get(f"{_BY_ID}{name}")
        fields = {
            "type": tags.get("TYPE"),
            "label": tags.get("LABEL"),
            "mount": point,
            "mounted": point in mounted,
        }
        other = tags.get("PTTYPE") or tags.get("PART") or tags.get("AMBIGUOUS")
        size = int(tags.get("FSLASTBLOCK", 0)) * int(tags.get("FSBLOCKSIZE", 0))
        facts = {"disk": int(sectors) * _SECTOR, "size": size, "other": other or ""}
        found[name] = Thing(fields=fields, facts=facts)
    return found


def compare(name: str, view: View) -> Change | Blocker | None:
    """Format a blank disk; mount it; let it grow. Anything else on it stops us."""
    wanted, found = view.wanted[NAME][name], view.found(NAME, name)
    what = f"{NAME} {name}"
    if found is None:  # the machine, or only this disk of it, is still to be made by L2
        return created(NAME, name, wanted, reason="made only if the disk is blank")
    device = f"{_BY_ID}{name}"
    kind, label, other = found.fields["type"], found.fields["label"], found.facts.get("other")
    if other or (kind and kind != _TYPE):
        holds = kind or f"a partition table ({other})"
        return Blocker(what, f"the disk holds {holds}", f"look at it: wipefs -n {device}")
    if kind is None:
        return created(NAME, name, wanted, reason="the disk is blank")
    if label != wanted.fields["label"]:
        return Blocker(
            what,
            f"the disk holds an {_TYPE} filesystem labelled {label or 'nothing'}",
            f"to hand it over: e2label {device} {wanted.fields['label']}",
        )
    fields = [
        FieldDiff(f, found.fields[f], wanted.fields[f])
        for f in ("mount", "mounted")
        if found.fields[f] != wanted.fields[f]
    ]
    # L2 grows the disk first: by then it has what is declared, and a plan made now must say so.
    disk = max(int(found.facts.get("disk", 0)), wanted.size)
    size = int(found.facts.get("size", 0))
    if size and disk - size > _SLACK:
        fields.append(FieldDiff("size", show_size(size), show_size(disk)))
    return Change(Action.UPDATE, what, tuple(fields)) if fields else None


def prune(name: str, view: View) -> Change:
    """Unmount it and drop the line; what is on the disk stays."""
    return pruned(NAME, name, view, "unmounted, and what is on the disk stays")


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a disk."""
    return [Step((change,), _script(change, wanted.get(name_of(change)))) for change in changes]


def _script(change: Change, wanted: Wanted | None) -> str:
    name, thing = name_of(change), quote(change.what)
    device = quote(f"{_BY_ID}{name}")
    if change.action is Action.DELETE or wanted is None:
        return (
            f"awk -v d={device} '$1 == d {{ print $2 }}' /etc/fstab | while read -r p; do\n"
            f"{unmount(_POINT)}\nfstab \"$p\" ''\ndone\ndisown {thing}"
        )
    mount = str(wanted.fields["mount"])
    diffs = {d.field: d for d in change.fields}
    lines = [f"d={device}\n{_THERE}\nown {thing} made"]
    if change.action is Action.CREATE:
        label = quote(str(wanted.fields["label"]))
        lines += [_BLANK.rstrip(), f'mkfs.ext4 -q -L {label} "$d"; udevadm settle 2>/dev/null || :']
    if "mount" in diffs:
        before = diffs["mount"].before
        if isinstance(before, str):
            lines.append(f"{unmount(quote(before))}\nfstab {quote(before)} ''")
        line = quote(f"{_BY_ID}{name} {mount} {_TYPE} {_OPTIONS} 0 2")
        lines.append(f"mkdir -p {quote(mount)}\nfstab {quote(mount)} {line}")
    lines.append(f"mountpoint -q {quote(mount)} || mount {quote(mount)}")
    if "size" in diffs:
        lines.append('resize2fs "$d"')
    return "\n".join(lines)
