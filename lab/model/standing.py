"""How data stands: a mark beside it, on its own filesystem, says how it came to be there.

A disk that is lost takes its mark along, so that an empty path never passes for the old one. The
scripts are pure text, POSIX sh; they only read, unless they say otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import sha256
from shlex import quote
from urllib.parse import quote as escaped

from lab.model.dataset import DataSet

FOLDER = ".strata"
"""On the mount point of a filesystem that holds data: marks, and restores on their way."""
_LONGEST = 200  # of a file's name there are 255 bytes
MARK = "standing"


class Standing(StrEnum):
    """How the data came to be there."""

    FRESH = "fresh"  # the workload began with nothing, and no capture said otherwise
    RESTORED = "restored"  # out of a capture, compared with its manifest
    ADOPTED = "adopted"  # it was there before anybody marked it


class Content(StrEnum):
    """What lies at a path."""

    ABSENT = "absent"
    EMPTY = "empty"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Marker:
    """What the mark of one path says.

    Attributes:
        since: When it was written, by this side's clock.
        state: ``complete``, or ``restoring``: a restore began, and nobody saw it end.
        snapshot: The capture that it came from; ``""``: from none.
    """

    path: str
    data: str
    standing: Standing
    since: float
    state: str = "complete"
    snapshot: str = ""

    @property
    def complete(self) -> bool:
        """Whether the path holds all that it should."""
        return self.state == "complete"

    def written(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Seen:
    """One path as it is on the host; ``marker`` is ``None`` where nobody left one."""

    path: str
    content: Content
    marker: Marker | None = None


def path_of(one: DataSet) -> tuple[str, ...]:
    """The paths that carry a set's marks. Of a mere dump: the folder its commands run in."""
    return one.paths or ((one.folder or "/",) if one.dump else ())


def name_of(path: str) -> str:
    """The name of a path's mark and of its place for restores: unique, and one word."""
    name = escaped(path.strip("/"), safe="") or "%2F"
    return name if len(name) <= _LONGEST else f"sha256-{sha256(path.encode()).hexdigest()}"


FUNCTIONS = f"""\
mount_of() {{
  d=$1; while [ ! -e "$d" ] && [ -n "$d" ]; do d=${{d%/*}}; done
  df -P -- "${{d:-/}}" 2>/dev/null | tail -n 1 | sed 's/^.*[0-9]%  *//'
}}
marks_of() {{ m=$(mount_of "$1"); printf '%s\\n' "${{m%/}}/{FOLDER}"; }}
content_of() {{
  if [ -d "$1" ]; then
    for f in "$1"/* "$1"/.[!.]* "$1"/..?*; do
      case $f in "$1/{FOLDER}"|"$1/lost+found") continue ;; esac
      if [ -e "$f" ] || [ -L "$f" ]; then echo full; return; fi
    done; echo empty
  elif [ -s "$1" ] || [ -L "$1" ]; then echo full
  elif [ -e "$1" ]; then echo empty
  else echo absent; fi
}}
"""
"""``mount_of PATH``, ``marks_of PATH`` (the folder for both), ``content_of PATH``."""


def look(paths: Iterable[str]) -> str:
    """A script that tells what lies at each path, and its mark: read by :func:`seen`."""
    lines = [FUNCTIONS]
    for path in paths:
        word, mark = quote(path), quote(f"{MARK}/{name_of(path)}.json")
        lines.append(
            f'printf "%s " "$(content_of {word})"; f=$(marks_of {word})/{mark}; '
            'if [ -r "$f" ]; then printf "%s\\n" "$(head -n 1 "$f")"; else echo -; fi'
        )
    return "\n".join(lines)


def seen(paths: Sequence[str], text: str) -> Iterator[Seen]:
    """What :func:`look` told. Raises ValueError where the answer is cut short."""
    lines = text.strip().splitlines()
    if len(lines) != len(paths):
        raise ValueError("the host's answer is cut off")
    for path, line in zip(paths, lines, strict=True):
        content, _, mark = line.partition(" ")
        yield Seen(path, Content(content), _marker(path, mark))


def _marker(path: str, text: str) -> Marker | None:
    """A torn mark says only that somebody was at it: not complete."""
    if text == "-":
        return None
    try:
        said = json.loads(text)
        return Marker(
            path=path,
            data=str(said["data"]),
            standing=Standing(said["standing"]),
            since=float(said["since"]),
            state=str(said["state"]),
            snapshot=str(said.get("snapshot") or ""),
        )
    except (ValueError, KeyError, TypeError):
        return Marker(path, "", Standing.ADOPTED, 0.0, "torn")


def write(markers: Iterable[Marker]) -> str:
    """A script that writes these marks (after :data:`FUNCTIONS`), each whole or not at all."""
    return "\n".join(
        f'f=$(marks_of {quote(m.path)})/{MARK}; mkdir -p "$f" && chmod 700 "${{f%/*}}" && '
        f'f="$f"/{quote(name_of(m.path) + ".json")} && '
        f'printf "%s\\n" {quote(m.written())} > "$f.new" && sync "$f.new" && mv -f "$f.new" "$f" '
        "|| exit 95"
        for m in markers
    )


def first_marks(looked: Iterable[Seen], data: str, now: float) -> tuple[Marker, ...]:
    """The marks of paths that carry none: what is there was there before; the rest is fresh."""
    return tuple(
        Marker(
            path=one.path,
            data=data,
            standing=Standing.ADOPTED if one.content is Content.FULL else Standing.FRESH,
            since=now,
        )
        for one in looked
        if one.marker is None
    )


def unproven(looked: Iterable[Seen], captured: float | None) -> str:
    """Why nothing may start on this data; ``""``: it may.

    ``captured`` is when the newest good capture that holds anything was taken; ``None``: none was.
    An empty path passes only where it was declared fresh after that.
    """
    for one in looked:
        mark = one.marker
        if mark is not None and not mark.complete:
            return f"a restore of {one.path} did not finish"
        if one.content is Content.FULL or captured is None:
            continue
        if mark is None or mark.standing is not Standing.FRESH or mark.since < captured:
            return f"{one.path} is {one.content.value}, and there are captures of it"
    return ""


__all__ = [
    "FOLDER",
    "FUNCTIONS",
    "MARK",
    "Content",
    "Marker",
    "Seen",
    "Standing",
    "first_marks",
    "look",
    "name_of",
    "path_of",
    "seen",
    "unproven",
    "write",
]
