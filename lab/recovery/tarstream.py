"""Reading a tar stream as it passes: what is in it, byte for byte, and nothing is ever unpacked.

Knows what GNU tar writes with ``--format=posix`` (pax), and the older long-name records. What is
damaged, cut short or of a kind that no capture of ours holds is a :class:`BrokenStream`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol
from zlib import adler32

BLOCK = 512
_MAX_RECORD = 4 << 20  # of long names and attributes: a path has at most 4 KiB
_ZEROS = bytes(BLOCK)
_ADLER = 65521  # the modulus of Adler-32


class BrokenStream(Exception):  # noqa: N818 (what it is, not what it does)
    """The stream is not a whole tar archive of ours; says why."""


class Kind(StrEnum):
    """What a member of an archive is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    CHARACTER = "character device"
    BLOCK_DEVICE = "block device"
    FIFO = "fifo"


_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"5": Kind.DIRECTORY,
    b"2": Kind.SYMLINK,
    b"1": Kind.HARDLINK,
    b"3": Kind.CHARACTER,
    b"4": Kind.BLOCK_DEVICE,
    b"6": Kind.FIFO,
}


class Member(NamedTuple):
    """One member, as its headers describe it.

    Attributes:
        path: As it stands in the archive, without a slash at its end: ``srv/start/index.html``.
            Bytes that are no UTF-8 are surrogates.
        size: Bytes of content that follow.
        mtime: As text, seconds with their fraction: nothing is lost to rounding.
        link: What a symbolic link says, or the path in the archive that a hard link is another
            name of.
        extra: Extended attributes and access lists, by their pax names, sorted.
        sparse: It is stored with its holes left out (never by us).
    """

    path: str
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    mtime: str
    link: str = ""
    extra: tuple[tuple[str, str], ...] = ()
    sparse: bool = False


class Visitor(Protocol):
    """Told of every member, its content and its end, in order."""

    def begin(self, member: Member) -> None:
        """A member begins."""
        ...

    def content(self, piece: memoryview) -> None:
        """More of its content; only valid during the call."""
        ...

    def end(self) -> None:
        """It was whole."""
        ...


@dataclass(slots=True)
class TarStream:
    """Feed it the stream in pieces of any size, then :meth:`close` it."""

    visitor: Visitor
    size: int = 0
    _head: bytearray = field(default_factory=bytearray)
    _content: int = 0
    _padding: int = 0
    _record: bytearray | None = None
    _record_type: bytes = b""
    _next: dict[str, str] = field(default_factory=dict)
    _zeros: int = 0

    def feed(self, piece: bytes | memoryview) -> None:
        """More of the stream. Raises BrokenStream."""
        view = memoryview(piece)
        self.size += len(view)
        at, count = 0, len(view)
        while at < count:
            if self._content:
                took = min(self._content, count - at)
                self._take(view[at : at + took])
            elif self._padding:
                took = min(self._padding, count - at)
                self._padding -= took
            elif not self._head and count - at >= BLOCK:
                took = BLOCK
                self._header(bytes(view[at : at + BLOCK]))
            else:
                took = min(BLOCK - len(self._head), count - at)
                self._head += view[at : at + took]
                if len(self._head) == BLOCK:
                    head = bytes(self._head)
                    self._head.clear()
                    self._header(head)
            at += took

    def close(self) -> None:
        """The stream is over. Raises BrokenStream where it was cut short."""
        if self._content or self._padding or self._head or self._zeros < 2:  # noqa: PLR2004 (tar's end mark)
            raise BrokenStream("it is cut short")

    def _take(self, piece: memoryview) -> None:
        self._content -= len(piece)
        if self._record is not None:
            self._record += piece
            if not self._content:
                record, self._record = bytes(self._record), None
                self._describe(record)
            return
        self.visitor.content(piece)
        if not self._content:
            self.visitor.end()

    def _header(self, head: bytes) -> None:
        if head == _ZEROS:
            self._zeros += 1
            return
        if self._zeros:
            raise BrokenStream("something follows its end")
        if (_number(head[148:156]) - _checksum(head)) % _ADLER:
            raise BrokenStream("a header is damaged")
        kind = head[156:157]
        if kind in {b"x", b"g", b"L", b"K"}:
            size = _number(head[124:136])
            if not 0 < size <= _MAX_RECORD:
                raise BrokenStream(f"a record of {size} bytes describes one file")
            self._record, self._record_type = bytearray(), kind
        else:
            size = self._begin(head, kind)
        self._content, self._padding = size, -size % BLOCK
        if self._record is None and not size:
            self.visitor.end()

    def _begin(self, head: bytes, kind: bytes) -> int:
        said, self._next = self._next, {}
        if kind not in _KINDS:
            raise BrokenStream(f"a member of the unknown kind {kind!r}")
        path = said.get("path") or _name(head)
        what = _KINDS[kind]
        if what is Kind.FILE and path.endswith("/") and kind == b"\0":
            what = Kind.DIRECTORY
        size = int(said["size"]) if "size" in said else _number(head[124:136])
        if what is not Kind.FILE and size:
            raise BrokenStream(f"{path} is a {what} with content")
        member = Member(
            path=path.rstrip("/") or "/",
            kind=what,
            mode=_number(head[100:108]) & 0o7777,
            uid=int(said.get("uid", _number(head[108:116]))),
            gid=int(said.get("gid", _number(head[116:124]))),
            size=size,
            mtime=said.get("mtime", str(_number(head[136:148]))),
            link=said.get("linkpath") or _text(head[157:257]),
            extra=tuple(sorted((k, v) for k, v in said.items() if k.startswith(_EXTRA))),
            sparse=any(k.startswith("GNU.sparse") for k in said),
        )
        self.visitor.begin(member)
        return size

    def _describe(self, record: bytes) -> None:
        """What a pax or a long-name record says of the member that follows."""
        if self._record_type == b"L":
            self._next["path"] = _text(record)
        elif self._record_type == b"K":
            self._next["linkpath"] = _text(record)
        else:
            said = _pax(record)
            if self._record_type == b"g" and said.keys() - {"comment"}:
                raise BrokenStream("a record describes all that follows")
            self._next.update(said)


_EXTRA = ("SCHILY.xattr.", "SCHILY.acl.", "RHT.security.")


def _pax(record: bytes) -> dict[str, str]:
    """Lines of ``<length> <key>=<value>``, one after the other."""
    said: dict[str, str] = {}
    at = 0
    while at < len(record):
        space = record.find(b" ", at, at + 20)
        length = int(record[at:space]) if space > 0 and record[at:space].isdigit() else 0
        if not length:  # or a record without blanks would be read for ever
            raise BrokenStream("a header is damaged")
        line = record[space + 1 : at + length]
        key, equals, value = line.partition(b"=")
        if not equals or not line.endswith(b"\n") or at + length > len(record):
            raise BrokenStream("a header is damaged")
        said[_text(key, cut=False)] = _text(value[:-1], cut=False)
        at += length
    for name in ("size", "uid", "gid"):
        if not said.get(name, "0").isdigit():
            raise BrokenStream("a header is damaged")
    return said


def _checksum(head: bytes) -> int:
    """The sum of its bytes, those of its own field counted as blanks.

    Adler-32 holds that sum, by a modulus that no damage of a few bits steps over, and is C.
    """
    blank = head[:148] + b"        " + head[156:]
    return (adler32(blank) & 0xFFFF) - 1


def _number(raw: bytes) -> int:
    """Octal text, or GNU's binary form for what does not fit."""
    if raw[0] & 0x80:
        return int.from_bytes(bytes([raw[0] & 0x7F]) + raw[1:], "big")
    digits = raw.strip(b" \0")
    if not digits:
        return 0
    if not digits.isdigit():  # Python would take a sign, too
        raise BrokenStream("a header is damaged")
    try:
        return int(digits, 8)
    except ValueError:
        raise BrokenStream("a header is damaged") from None


def _name(head: bytes) -> str:
    prefix = _text(head[345:500]) if head[257:263] == b"ustar\0" else ""
    name = _text(head[0:100])
    return f"{prefix}/{name}" if prefix else name


def _text(raw: bytes, *, cut: bool = True) -> str:
    return (raw.split(b"\0", 1)[0] if cut else raw).decode("utf-8", "surrogateescape")
