"""What a capture holds, file by file, and the one hash that stands for all of it.

A manifest is written after the content it describes; a capture without one does not count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

from lab.model.template import Archive
from lab.recovery.tarstream import BrokenStream, Kind, Member, TarStream

SCHEMA = "strata.manifest/1"


class Entry(NamedTuple):
    """One thing in a capture.

    Attributes:
        path: Absolute, on the host.
        kind: A :class:`~lab.recovery.tarstream.Kind`.
        mtime: Seconds, as text with their fraction.
        sha256: Of a file's content; ``""`` for everything else.
        link: A symbolic link's words; of a hard link the absolute path it is another name of.
        extra: Extended attributes and access lists by their pax names.
    """

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: str
    sha256: str = ""
    link: str = ""
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of content in the repository.

    Attributes:
        name: ``files.tar``, ``dump`` or ``disk.qcow2``.
        snapshot: Its snapshot's full identity.
        size: Bytes of the stream itself.
        sha256: Of a dump or disk; ``""`` for an archive, whose files have one each.
    """

    name: str
    snapshot: str
    size: int
    sha256: str = ""


FILES = "files.tar"
DUMP = "dump"
IMAGE = "disk.qcow2"


@dataclass(frozen=True)
class Manifest:
    """One capture.

    Attributes:
        id: Ours, the same on all its snapshots.
        at: The quiesce point, seconds since the epoch, by this machine's clock.
        number: One more than that of the capture before it.
        image: The template that the machine was made from.
        quiesced: The commands around the reading ran well, and nothing changed meanwhile.
        files: How many regular files; ``size``: their bytes, and the dump's.
        root: The Merkle root over ``entries`` and the dump.
        torn: What changed while it was read.
        flagged: Why nobody should rely on it; ``""``: it is good.
        tools: Program to version.
        facts: Of a boot disk: what was seen of the machine that it belongs to.
        archive: Of one that stays at its provider: where it lies
            (:class:`lab.model.template.Archive`); such a capture has no streams.
    """

    lab: str
    host: str
    persona: str
    data: str
    id: str
    at: float
    number: int = 1
    image: str = ""
    commit: str = ""
    paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    workload: str = ""
    restore: str = ""
    folder: str = ""
    quiesced: bool = False
    seconds: float = 0.0
    files: int = 0
    size: int = 0
    root: str = ""
    flagged: str = ""
    torn: tuple[str, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict, repr=False)
    archive: Mapping[str, Any] = field(default_factory=dict)
    streams: tuple[Stream, ...] = ()
    entries: tuple[Entry, ...] = field(default=(), repr=False)

    def stream(self, name: str) -> Stream | None:
        """That stream, ``None`` where the capture has none."""
        return next((s for s in self.streams if s.name == name), None)

    @property
    def whole(self) -> str:
        """The hash of what has no entries: a dump, a disk, what says where one lies; or ``""``."""
        if self.archive:
            return Archive(**self.archive).digest
        one = self.stream(DUMP) or self.stream(IMAGE)
        return one.sha256 if one else ""

    def written(self) -> Iterator[bytes]:
        """Its lines: what it says of itself, then one an entry."""
        head = asdict(self) if not self.entries else asdict(_without_entries(self))
        del head["entries"]
        yield _line({"schema": SCHEMA, **head, "count": len(self.entries)})
        for entry in self.entries:
            yield _line(entry)

    @classmethod
    def read(cls, lines: Iterable[bytes]) -> Manifest:
        """Of those lines. Raises ValueError for anything else, or where some are missing."""
        source = iter(lines)
        head = json.loads(next(source, b""))
        if not isinstance(head, dict) or head.pop("schema", "") != SCHEMA:
            raise ValueError("no manifest that this Strata knows")
        count = head.pop("count")
        entries = tuple(_entry(json.loads(line)) for line in source if line.strip())
        if len(entries) != count:
            raise ValueError(f"{count} entries were announced, {len(entries)} are there")
        head["streams"] = tuple(Stream(**s) for s in head["streams"])
        for name in ("paths", "exclude", "torn"):
            head[name] = tuple(head[name])
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in head.items() if k in known}, entries=entries)


def _without_entries(manifest: Manifest) -> Manifest:
    values = {f.name: getattr(manifest, f.name) for f in fields(manifest) if f.name != "entries"}
    return Manifest(**values)


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _entry(values: list[Any]) -> Entry:
    *plain, extra = values
    return Entry._make([*plain, tuple((k, v) for k, v in extra)])


def merkle_root(entries: Iterable[Entry], dump: str = "") -> str:
    """Over paths, kinds, modes, owners, attributes and content, in the order of the paths.

    When something was last written (mtime) is not part of it: content that is the same is the same.
    """
    leaves = [
        _hash(b"\0", _line([*e[:5], e.size, *e[7:]])) for e in sorted(entries, key=lambda e: e.path)
    ]
    leaves += [_hash(b"\0", f"dump {dump}".encode())] if dump else []
    while len(leaves) > 1:
        pairs = zip(leaves[::2], leaves[1::2], strict=False)
        last = leaves[-1:] if len(leaves) % 2 else []
        leaves = [*(_hash(b"\1", a + b) for a, b in pairs), *last]
    return (leaves[0] if leaves else _hash(b"\0", b"")).hex()


def _hash(mark: bytes, content: bytes) -> bytes:
    return hashlib.sha256(mark + content).digest()


_KINDS = {kind: kind.value for kind in Kind}  # asking an enum for its value costs


class Taking:
    """Takes down what a stream of ``files.tar`` holds while it passes."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.files = 0
        self.size = 0
        self._stream = TarStream(self)
        self._content = hashlib.sha256()
        self._member: Member | None = None

    @property
    def length(self) -> int:
        """Bytes of the stream so far."""
        return self._stream.size

    def feed(self, piece: bytes | memoryview) -> None:
        """More of the stream. Raises BrokenStream."""
        self._stream.feed(piece)

    def close(self) -> None:
        """The stream is over. Raises BrokenStream where it was cut short."""
        self._stream.close()
        self.entries.sort(key=lambda e: e.path)

    def begin(self, member: Member) -> None:
        """A member begins."""
        if member.sparse:
            raise BrokenStream(f"{member.path} is stored with its holes left out")
        self._member = member
        self._content = hashlib.sha256()

    def content(self, piece: memoryview) -> None:
        """More of its content."""
        self._content.update(piece)

    def end(self) -> None:
        """It was whole."""
        member = self._member
        assert member is not None  # noqa: S101 (begin comes first)
        a_file = member.kind is Kind.FILE
        if a_file:
            self.files += 1
            self.size += member.size
        link = f"/{member.link.lstrip('/')}" if member.kind is Kind.HARDLINK else member.link
        self.entries.append(
            Entry(
                path=f"/{member.path.lstrip('/')}",
                kind=_KINDS[member.kind],
                mode=member.mode,
                uid=member.uid,
                gid=member.gid,
                size=member.size,
                mtime=member.mtime,
                sha256=self._content.hexdigest() if a_file else "",
                link=link,
                extra=member.extra,
            )
        )
