"""Whether what a capture holds may be put on a host at all: pure.

A capture is as honest as the host was that it was taken of. What leads out of its own paths, or
makes what no set of data holds, is refused whole, before anything is written anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from lab.model.dataset import inside
from lab.model.standing import FOLDER
from lab.recovery.manifest import Entry
from lab.recovery.tarstream import Kind

_KINDS = {Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK, Kind.HARDLINK, Kind.FIFO}
_ATTRIBUTES = ("SCHILY.xattr.user.", "SCHILY.acl.")
_CAPABILITY = "SCHILY.xattr.security.capability"
_MODES = 0o7777
_LAST_ID = 2**32 - 2
_LONGEST_PATH = 4095


def hostile(entries: Iterable[Entry], paths: Sequence[str]) -> tuple[str, str] | None:
    """The first entry that must not be restored, and why; ``None``: there is none.

    ``paths`` are those of the set, or patterns where it is optional.
    """
    known: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda e: e.path):
        why = _alone(entry, paths) or _among(entry, known, paths)
        if why:
            return entry.path, why
        known[entry.path] = entry
    for entry in known.values():
        if entry.kind == Kind.HARDLINK and not _is_good_link(entry, known, paths):
            return entry.path, f"it is another name of {entry.link}, which is no file of it"
    return None


def _alone(entry: Entry, paths: Sequence[str]) -> str:
    why = _astray(entry.path, paths)
    if why:
        return why
    if entry.kind not in _KINDS:
        return f"it is a {entry.kind}"
    if entry.mode & ~_MODES or entry.size < 0 or (entry.kind != Kind.FILE and entry.size):
        return "its mode or size cannot be"
    if not (0 <= entry.uid <= _LAST_ID and 0 <= entry.gid <= _LAST_ID):
        return "its owner cannot be"
    return _odd(entry)


def _astray(path: str, paths: Sequence[str]) -> str:
    first, *words = path.split("/")
    if first or any(word in {"", ".", ".."} for word in words) or "\0" in path:
        return "its path leads elsewhere"
    if len(path.encode("utf-8", "surrogateescape")) > _LONGEST_PATH:
        return "its path is longer than any path can be"
    root = root_of(path, paths)
    if root is None:
        return "it lies outside of the paths of the set"
    if inside(path, f"{root.rstrip('/')}/{FOLDER}"):
        return "it lies where the lab's own marks are"
    return ""


def _odd(entry: Entry) -> str:
    if entry.kind in {Kind.SYMLINK, Kind.HARDLINK} and (not entry.link or "\0" in entry.link):
        return "it leads nowhere"
    if not entry.mtime.lstrip("-").replace(".", "", 1).isdigit():
        return "its time cannot be"
    for name, _ in entry.extra:
        if name != _CAPABILITY and not name.startswith(_ATTRIBUTES):
            return f"it has the attribute {name}"
    return ""


def _among(entry: Entry, known: Mapping[str, Entry], paths: Sequence[str]) -> str:
    """Of all that lies above it: each is a folder of the same capture."""
    if entry.path in known:
        return "it comes twice"
    root = root_of(entry.path, paths)
    above = entry.path.rpartition("/")[0]
    while root is not None and inside(above, root):
        found = known.get(above)
        if found is None:
            return f"{above}, which it lies in, is not in the capture"
        if found.kind != Kind.DIRECTORY:
            return f"it lies below {above}, which is a {found.kind}"
        above = above.rpartition("/")[0]
    return ""


def _is_good_link(entry: Entry, known: Mapping[str, Entry], paths: Sequence[str]) -> bool:
    found = known.get(entry.link)
    same = root_of(entry.link, paths) == root_of(entry.path, paths)
    return found is not None and found.kind == Kind.FILE and same


def root_of(path: str, paths: Sequence[str]) -> str | None:
    """Which of the set's paths it belongs to; of a pattern the part of ``path`` that it matches."""
    for one in paths:
        if inside(path, one):
            return one
    words = path.split("/")
    for one in paths:
        count = len(one.split("/"))
        start = "/".join(words[:count])
        same = len(start.split("/")) == count
        if same and all(map(fnmatchcase, words[:count], one.split("/"))):
            return start
    return None


__all__ = ["hostile", "root_of"]
