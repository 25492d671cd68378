"""The lab's capture repository: which captures are in it, and what each holds.

Of every capture there are the snapshots of its content, and one more, written last, that holds its
manifest. Only what has a manifest is a capture. Everything of ours is tagged ``strata``, ``lab=…``,
``host=…``, ``data=…``, ``id=…`` and ``part=…``; what is not is somebody else's and never touched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from lab import folders
from lab.clients.restic import Access, Label, Restic, Snapshot
from lab.errors import ConfigError, DriverError, Problem
from lab.layer import Workspace
from lab.masking import hide
from lab.model.declared import CaptureEntry
from lab.model.recovered import CaptureRecord
from lab.model.secret import Secret
from lab.recovery.manifest import DUMP, FILES, Manifest, Stream

MARK = "strata"
MANIFEST = "manifest"
LAB_HOST = "_lab"
"""The host that the lab's own journal is captured as (no host can be called so)."""


@dataclass(frozen=True, slots=True)
class Capture:
    """One capture as the repository lists it.

    Attributes:
        id: Ours, the same on all its snapshots.
        at: The quiesce point, seconds since the epoch.
        number: One more than that of the capture before it: what is newer, whatever the clock says.
        snapshot: The manifest's, by which everybody calls it.
        parts: The snapshots of its content.
        flagged: Nobody should rely on it; its manifest says why.
    """

    host: str
    data: str
    id: str
    at: float
    number: int
    snapshot: str
    parts: tuple[str, ...]
    files: int
    size: int
    root: str
    flagged: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in the repository: captures newest first, and snapshots of unfinished ones."""

    captures: tuple[Capture, ...]
    unfinished: tuple[Snapshot, ...] = ()

    def of(self, host: str, data: str = "", *, good: bool = False) -> tuple[Capture, ...]:
        """Those of one host (and one set of data), newest first; ``good``: without flagged ones."""
        return tuple(
            c
            for c in self.captures
            if c.host == host and data in {"", c.data} and not (good and c.flagged)
        )


class Repository:
    """The captures of one lab. Used from several threads at once."""

    def __init__(self, lab: str, restic: Restic, workspace: Workspace, route: str = "pull") -> None:
        self.lab = lab
        self.restic = restic
        self.workspace = workspace
        self.route = route

    @property
    def shown(self) -> str:
        """Where it is, for people."""
        return self.restic.access.shown

    def prepare(self) -> None:
        """Make it where there is none: for who knows that nothing was ever kept there."""
        if not self.restic.exists():
            self.restic.create()

    def listing(self, *, remembered: bool = False) -> Listing:
        """Everything of this lab that is there. ``remembered``: as :meth:`Restic.snapshots`."""
        found = self.restic.snapshots(MARK, f"lab={self.lab}", remembered=remembered)
        parts: dict[str, list[Snapshot]] = {}
        for snapshot in found:
            parts.setdefault(snapshot.tag("id"), []).append(snapshot)
        captures, unfinished = [], []
        for several in parts.values():
            last = next((s for s in several if s.tag("part") == MANIFEST), None)
            if last is None:
                unfinished += several
            else:
                captures.append(_capture(last, [s.id for s in several if s is not last]))
        captures.sort(key=lambda c: (c.number, c.at, c.id), reverse=True)
        return Listing(tuple(captures), tuple(unfinished))

    def find(self, host: str, data: str, at: float | None = None) -> Capture:
        """The newest good one (that is not younger than ``at``). Raises DriverError."""
        every = self.listing().of(host, data, good=True)
        for capture in every:
            if at is None or capture.at <= at:
                return capture
        when = "" if at is None or not every else " that is old enough"
        raise DriverError(
            f"Unable to find a capture of {data} of {host}: the repository has no good one{when}.",
            hint=f"lab captures list host={host}",
        )

    def manifest(self, capture: Capture) -> Manifest:
        """What it holds, file by file. Raises DriverError where that is damaged or not its own."""
        with self.restic.reading(capture.snapshot, MANIFEST) as pieces:
            try:
                found = Manifest.read(_lines(pieces))
            except ValueError as error:
                raise _damaged(capture, MANIFEST, f"{error}") from error
        said = (found.lab, found.host, found.data, found.id, found.root)
        if said != (self.lab, capture.host, capture.data, capture.id, capture.root):
            raise _damaged(capture, MANIFEST, "it is the manifest of another one")
        if not {s.snapshot for s in found.streams} <= set(capture.parts):
            raise _damaged(capture, MANIFEST, "its content is no longer there")
        return found

    @contextmanager
    def content(self, stream: Stream) -> Iterator[Iterator[bytes]]:
        """One of a manifest's streams, piece by piece. The last piece may come with DriverError."""
        with self.restic.reading(stream.snapshot, stream.name) as pieces:
            yield pieces

    def label(self, manifest: Manifest, part: str) -> Label:
        """What a snapshot of that capture is to be called."""
        tags = [MARK, f"lab={self.lab}", f"host={manifest.host}", f"data={manifest.data}"]
        tags += [f"id={manifest.id}", f"part={part}"]
        tags += [f"at={manifest.at!r}"]
        if part == MANIFEST:
            tags += [
                f"number={manifest.number}",
                f"files={manifest.files}",
                f"size={manifest.size}",
                f"root={manifest.root}",
            ]
            tags += ["flagged"] if manifest.flagged else []
        return Label(part, manifest.host, tuple(tags), manifest.at)

    def conclude(self, manifest: Manifest) -> Capture:
        """Write the manifest: from now on it is a capture."""
        with tempfile.TemporaryFile() as file:
            file.writelines(manifest.written())
            stored = self.restic.store(self.label(manifest, MANIFEST), file)
        return Capture(
            host=manifest.host,
            data=manifest.data,
            id=manifest.id,
            at=manifest.at,
            number=manifest.number,
            snapshot=stored.snapshot,
            parts=tuple(s.snapshot for s in manifest.streams),
            files=manifest.files,
            size=manifest.size,
            root=manifest.root,
            flagged=bool(manifest.flagged),
        )

    def drop(self, captures: Iterable[Capture]) -> None:
        """Remove them: the manifest first, so that nothing half removed counts."""
        every = tuple(captures)
        self.restic.forget([c.snapshot for c in every])
        self.restic.forget([part for c in every for part in c.parts])


def repository_of(lab: str, entry: CaptureEntry | None, workspace: Workspace) -> Repository:
    """The repository that ``lab.yaml`` names. Raises ConfigError where it names none."""
    if entry is None:
        what = "capture: is missing: it says where captures are kept"
        example = "capture: {repository: {url: captures, password: !secret restic}}"
        raise ConfigError([Problem("lab.yaml", f"{what}; for example {example}")])
    said = entry.repository
    url = said.url.reveal() if isinstance(said.url, Secret) else said.url
    access = Access(
        url=_placed(url, lab),
        password=partial(_revealed, said.password),
        environment=lambda: {k: _revealed(v) for k, v in said.environment.items()},
        cache=workspace.cache / "restic",
    )
    return Repository(lab, Restic(access, workspace.cancelled), workspace, entry.route)


def new_id() -> str:
    """Of a capture that begins."""
    return uuid4().hex


def record_of(capture: Capture, flagged: str = "") -> CaptureRecord:
    """As the journal keeps it."""
    why = flagged or ("flagged when it was taken" if capture.flagged else "")
    return CaptureRecord(
        host=capture.host,
        data=capture.data,
        at=capture.at,
        snapshot=capture.snapshot,
        files=capture.files,
        size=capture.size,
        root=capture.root,
        flagged=why,
    )


def _revealed(value: str | Secret) -> str:
    if isinstance(value, Secret):
        text = value.reveal()
        hide(text, value.name)
        return text
    return value


def _placed(url: str, lab: str) -> str:
    """A relative path lies where things are kept that must outlive the lab's checkout and state."""
    if ":" in url.partition("/")[0] or url.startswith("/"):
        return url
    return str(folders.data() / "strata" / lab / url)


def _capture(last: Snapshot, parts: list[str]) -> Capture:
    return Capture(
        host=last.tag("host"),
        data=last.tag("data"),
        id=last.tag("id"),
        at=float(last.tag("at") or last.at),
        number=int(last.tag("number") or 0),
        snapshot=last.id,
        parts=tuple(parts),
        files=int(last.tag("files") or 0),
        size=int(last.tag("size") or 0),
        root=last.tag("root"),
        flagged="flagged" in last.tags,
    )


def _damaged(capture: Capture, name: str, why: str) -> DriverError:
    return DriverError(
        f"Unable to read the capture {capture.snapshot[:8]} of {capture.data} of {capture.host}:"
        f" {name}: {why}.",
        hint=f"lab captures verify host={capture.host}",
    )


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


__all__ = [
    "DUMP",
    "FILES",
    "LAB_HOST",
    "Capture",
    "Listing",
    "Repository",
    "new_id",
    "record_of",
    "repository_of",
]
