"""An archive of our own making, out of entries that were judged: nothing foreign passes through.

What a capture's archive says in its headers is read once and forgotten; hosts unpack this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from lab.recovery.manifest import Entry
from lab.recovery.tarstream import BLOCK, Kind, Member, TarStream

END = bytes(2 * BLOCK)
IT = "it"
"""What the restored thing is called in the archive: ``it``, ``it/a``, ``it/a/b``."""
_TYPES = {
    Kind.FILE: b"0",
    Kind.HARDLINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
}
_IN_OCTAL = 0o7777777


def size_of(entries: Iterable[Entry], root: str) -> int:
    """Bytes of the archive that :class:`Only` makes of these."""
    heads = sum(len(header(e, root)) + e.size + (-e.size % BLOCK) for e in entries)
    return heads + len(END)


def header(entry: Entry, root: str) -> bytes:
    """What stands before an entry's content. ``root`` is the path that becomes ``it``."""
    kind = Kind(entry.kind)
    said = {"path": named(entry.path, root), "mtime": entry.mtime}
    if kind is Kind.SYMLINK:
        said["linkpath"] = entry.link
    elif kind is Kind.HARDLINK:
        said["linkpath"] = named(entry.link, root)
    said |= {"uid": str(entry.uid), "gid": str(entry.gid), "size": str(entry.size)}
    if not entry.size:
        del said["size"]
    said |= dict(entry.extra)
    record = b"".join(_record(key, value) for key, value in said.items())
    return (
        _block(b"x", len(record), 0o600, (0, 0))
        + record
        + bytes(-len(record) % BLOCK)
        + _block(_TYPES[kind], entry.size, entry.mode, (entry.uid, entry.gid))
    )


def named(path: str, root: str) -> str:
    """``it`` and what follows."""
    return IT + path[len(root.rstrip("/")) :] if path != root else IT


def _record(key: str, value: str) -> bytes:
    """``<length> <key>=<value>``, where the length counts itself."""
    rest = f" {key}={value}\n".encode("utf-8", "surrogateescape")
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def _block(kind: bytes, size: int, mode: int, owner: tuple[int, int]) -> bytes:
    uid, gid = (n if n <= _IN_OCTAL else 0 for n in owner)
    head = bytearray(BLOCK)
    head[0:2] = IT.encode()
    head[100:108] = b"%07o\0" % mode
    head[108:116] = b"%07o\0" % uid
    head[116:124] = b"%07o\0" % gid
    head[124:136] = _number(size)
    head[136:148] = b"%011o\0" % 0
    head[148:156] = b" " * 8
    head[156:157] = kind
    head[257:265] = b"ustar\00000"
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def _number(size: int) -> bytes:
    """Octal, or GNU's binary form from 8 GiB on."""
    return b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")


class Only:
    """Makes, out of the archive of a whole capture, that of one root, as it passes."""

    def __init__(self, wanted: Mapping[str, Entry], root: str) -> None:
        self._wanted, self._root = wanted, root
        self._stream = TarStream(self)
        self._out: list[bytes] = []
        self._padding = 0
        self._on = False

    def of(self, pieces: Iterable[bytes], told: Callable[[int], None]) -> Iterator[bytes]:
        """The archive's pieces. What the reading of ``pieces`` raises is raised."""
        done = 0
        for piece in pieces:
            self._stream.feed(piece)
            done += len(piece)
            told(done)
            if self._out:
                out, self._out = self._out, []
                yield b"".join(out)
        yield END

    def begin(self, member: Member) -> None:
        """A member begins: of what is wanted, our own header goes out."""
        entry = self._wanted.get(f"/{member.path.lstrip('/')}")
        self._on = entry is not None
        if entry is not None:
            self._out.append(header(entry, self._root))
            self._padding = -entry.size % BLOCK

    def content(self, piece: memoryview) -> None:
        """More of its content."""
        if self._on:
            self._out.append(bytes(piece))

    def end(self) -> None:
        """It was whole."""
        if self._on and self._padding:
            self._out.append(bytes(self._padding))
        self._padding = 0
