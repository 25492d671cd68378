"""What is run on a host to restore a path: pure, POSIX sh, GNU tar, find and coreutils.

What is new comes beside the data, on its own filesystem: ``.strata/restore/<name>/new/it``. It
takes the place of the old by a rename; of a mount point, which cannot be renamed, its content does,
piece by piece. ``phase`` says how far that came: every script goes on where one before it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from shlex import quote

from lab.model import standing
from lab.model.standing import Marker, Seen
from lab.recovery.manifest import Entry
from lab.recovery.tarstream import Kind
from lab.recovery.tarwriting import IT, named

SWAPPED = "swapped"
_HEAD = (
    standing.FUNCTIONS
    + """\
keep() { printf '%s\\n' "$2" > "$1.part" && sync "$1.part" && mv -f "$1.part" "$1"; }
move() {
  if $whole; then
    if [ -e "$1" ] || [ -L "$1" ]; then mv -T -- "$1" "$2" || exit 96; fi
  elif [ -d "$1" ]; then
    mkdir -p "$2" || exit 96
    find "$1" -mindepth 1 -maxdepth 1 ! -name .strata ! -name lost+found \\
      -exec mv -t "$2" -- {} + || exit 96
  fi
}
attributes() { $whole || { chown --reference="$1" -- "$2" && chmod --reference="$1" -- "$2"; }; }
"""
)


@dataclass(frozen=True, slots=True)
class Place:
    """One path that is restored.

    Attributes:
        path: Where it goes.
        root: What it is called in the capture.
        mark: The path whose mark tells of it; ``""``: none does.
    """

    path: str
    root: str
    mark: str = ""

    def script(self, body: str) -> str:
        """``body``, with ``$p`` the path, ``$w`` its restore's folder, ``$whole``, ``$mark``."""
        mark = "mark="
        if self.mark:
            name = quote(f"{standing.MARK}/{standing.name_of(self.mark)}.json")
            mark = f"mark=$(marks_of {quote(self.mark)})/{name}"
        return (
            f"{_HEAD}p={quote(self.path)}\n"
            f'w=$(marks_of "$p")/restore/{quote(standing.name_of(self.path))}\n'
            f'whole=true; [ "$(mount_of "$p")" != "$p" ] || whole=false\n{mark}\n{body}'
        )


@dataclass(frozen=True, slots=True)
class Looked:
    """One path before anything is done.

    Attributes:
        phase: How far an earlier restore came; ``""``: there was none, or it is over.
        verified: The capture whose content lies beside, whole and compared; ``""``: none does.
        below: Mount points below the path.
        free: Bytes; ``files``: how many more files there can be (-1: as many as one likes).
    """

    seen: Seen
    phase: str
    verified: str
    below: tuple[str, ...]
    free: int
    files: int


def look(place: Place) -> str:
    """A script that tells :class:`Looked`."""
    body = """\
printf 'phase %s\\n' "$(cat "$w/phase" 2>/dev/null)"
printf 'verified %s\\n' "$(cat "$w/verified" 2>/dev/null)"
while read -r _ _ _ _ at _; do at=$(printf '%b' "$at"); case $at in
  "${p%/}"/*) printf 'below %s\\n' "$at" ;; esac; done < /proc/self/mountinfo
m=$(mount_of "$p")
printf 'free %s\\n' "$(df -Pk -- "$m" | tail -n 1 | awk '{print $(NF-2)}')"
printf 'files %s\\n' "$(df -Pi -- "$m" 2>/dev/null | tail -n 1 | awk '$(NF-4) > 0 {print $(NF-2)}')"
echo standing
"""
    return place.script(body) + standing.look([place.path])


def looked(place: Place, text: str) -> Looked:
    """What it told. Raises ValueError where the answer is cut short."""
    head, found, rest = text.partition("standing\n")
    if not found:
        raise ValueError("the host's answer is cut off")
    said: dict[str, list[str]] = {}
    for line in head.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value)
    (seen,) = standing.seen([place.path], rest)
    return Looked(
        seen=seen,
        phase=said["phase"][0],
        verified=said["verified"][0],
        below=tuple(said.get("below", ())),
        free=int(said["free"][0] or 0) * 1024,
        files=int(said["files"][0] or -1),
    )


def prepare(place: Place) -> str:
    """Make room beside it; what an earlier, unfinished one left there goes."""
    return place.script(
        'umask 077; mkdir -p "$w" && rm -rf --one-file-system -- "$w/new" "$w/verified" && '
        'mkdir "$w/new"\n'
    )


def unpack(place: Place) -> str:
    """Unpack the archive that comes on standard input, beside it."""
    return place.script(
        'cd "$w/new" && tar -x -f - --numeric-owner --same-owner -p --delay-directory-restore'
        " --acls --xattrs --xattrs-include='*' --warning=no-timestamp\n"
    )


def listing(place: Place) -> str:
    """Tell everything that lies beside it, with the hash of each file."""
    return place.script(
        "cd \"$w/new\" && find it -printf '%y\\0%m\\0%U\\0%G\\0%s\\0%l\\0%p\\0' && printf '\\0'"
        " && find it -type f -print0 | xargs -0 -r sha256sum -z --\n"
    )


def difference(answer: bytes, entries: Mapping[str, Entry], root: str) -> str:
    """What :func:`listing` told that is not as it was captured; ``""``: nothing."""
    fields = answer.decode("utf-8", "surrogateescape").split("\0")
    there: dict[str, list[str]] = {}
    at = 0
    while at + 7 < len(fields) and fields[at]:
        there[fields[at + 6]] = fields[at : at + 6]
        at += 7
    pairs = (line.partition("  ") for line in fields[at + 1 :])
    sums = {name: sha256 for sha256, _, name in pairs}
    by_name = {named(path, root): entry for path, entry in entries.items()}
    strange = sorted(there.keys() - by_name.keys())
    if strange:
        return f"{strange[0]} is there, and was not captured"
    for name, entry in by_name.items():
        first = entries[entry.link] if entry.kind == Kind.HARDLINK else entry
        why = _unlike(there.get(name), sums.get(name, ""), first)
        if why:
            return f"{entry.path}: {why}"
    return ""


_LETTERS = {Kind.FILE: "f", Kind.DIRECTORY: "d", Kind.SYMLINK: "l", Kind.FIFO: "p"}


def _unlike(found: list[str] | None, sha256: str, entry: Entry) -> str:
    if found is None:
        return "it is missing"
    kind, mode, uid, gid, size, link = found
    if kind != _LETTERS[Kind(entry.kind)]:
        return f"it is no {entry.kind}"
    if (int(uid), int(gid)) != (entry.uid, entry.gid):
        return "its owner is not as it was captured"
    if kind == "l":
        return "" if link == entry.link else "it leads elsewhere"
    if int(mode, 8) != entry.mode:
        return "its mode is not as it was captured"
    if kind == "f" and (int(size), sha256) != (entry.size, entry.sha256):
        return "its content is not what was captured"
    return ""


def keep_verified(place: Place, snapshot: str) -> str:
    """Everything beside it is durable, and was compared with that capture."""
    return place.script(f'sync -f "$w/new" && keep "$w/verified" {quote(snapshot)}\n')


def swap(place: Place, restoring: Marker | None) -> str:
    """Put the new in the old one's place; the old is kept beside. Goes on where it stopped."""
    marked = standing.write([restoring]) if restoring is not None else ":"
    return place.script(
        f"""\
ph=$(cat "$w/phase" 2>/dev/null)
if [ -z "$ph" ]; then
  rm -rf --one-file-system -- "$w/old" "$w/mark.before"
  mkdir -p "$w/old" "${{p%/*}}/" || exit 96
  [ -z "$mark" ] || [ ! -e "$mark" ] || cp -p -- "$mark" "$w/mark.before" || exit 96
  keep "$w/phase" out || exit 96; ph=out
fi
{marked}
if [ "$ph" = out ]; then
  move "$p" "$w/old/it"; attributes "$p" "$w/old/it"
  keep "$w/phase" in || exit 96; ph=in
fi
if [ "$ph" = in ]; then
  if [ -e "$w/new/it" ] || [ -L "$w/new/it" ]; then
    move "$w/new/it" "$p"; attributes "$w/new/it" "$p"
  fi
  sync -f "$w"; keep "$w/phase" {SWAPPED} || exit 96; ph={SWAPPED}
fi
[ "$ph" = {SWAPPED} ] || exit 96
"""
    )


def put_back(place: Place) -> str:
    """The old in its place again, with its mark; the new stays beside. Goes on where it stopped."""
    return place.script(
        f"""\
ph=$(cat "$w/phase" 2>/dev/null)
[ -n "$ph" ] || exit 0
case $ph in {SWAPPED}|in) keep "$w/phase" back-out || exit 96; ph=back-out ;; esac
if [ "$ph" = back-out ]; then
  move "$p" "$w/new/it"
  keep "$w/phase" back-in || exit 96
fi
if [ -e "$w/old/it" ]; then attributes "$w/old/it" "$p"; fi
move "$w/old/it" "$p"
if [ -n "$mark" ]; then
  if [ -e "$w/mark.before" ]; then
    cp -p -- "$w/mark.before" "$mark.new" && mv -f "$mark.new" "$mark"
  else rm -f -- "$mark"; fi || exit 96
fi
sync -f "$w"; rm -f "$w/phase" && rm -rf --one-file-system -- "$w/old" "$w/mark.before"
"""
    )


def finish(place: Place, complete: Marker | None) -> str:
    """The new is proven: its mark says so, and the old goes."""
    marked = standing.write([complete]) if complete is not None else ":"
    return place.script(
        f'{marked}\nrm -f "$w/phase" && rm -rf --one-file-system -- "$w" || exit 96\n'
        'rmdir "${w%/*}" 2>/dev/null; :\n'
    )


def put_there(place: Place) -> str:
    """What lies beside goes to a path where nothing is; nothing is replaced."""
    return place.script(
        """\
[ "$(content_of "$p")" != full ] || { echo "$p is not empty" >&2; exit 97; }
mkdir -p "${p%/*}/" || exit 96
if $whole; then rmdir -- "$p" 2>/dev/null || rm -f -- "$p"; fi
move "$w/new/it" "$p"; attributes "$w/new/it" "$p"
rm -rf --one-file-system -- "$w"; rmdir "${w%/*}" "${w%/*/*}" 2>/dev/null; :
"""
    )


__all__ = [
    "IT",
    "SWAPPED",
    "Looked",
    "Place",
    "difference",
    "finish",
    "keep_verified",
    "listing",
    "look",
    "looked",
    "prepare",
    "put_back",
    "put_there",
    "swap",
    "unpack",
]
