"""Whether a database's dump came to its end, where its own words tell.

``sqlite3 app.db .dump`` of a database that is locked writes its error into the dump and ends with
status 0; a command in a list or a pipe can fail unseen. Dumps in text begin and end with words of
their own, which are looked for here, also where gzip packed them.

Sources: ``dump`` in SQLite's shell.c, pg_dump's and pg_dumpall's ``complete`` lines, mysqldump's
``-- Dump completed`` (which, like its first line, ``--skip-comments`` leaves out).
"""

from __future__ import annotations

import re
import zlib

_BEGINS = re.compile(
    rb"PRAGMA foreign_keys=OFF;\s+BEGIN TRANSACTION;(?P<sqlite3>)"
    rb"|^-- PostgreSQL database (?:cluster )?dump$(?P<pg_dump>)"
    rb"|^-- (?:MySQL|MariaDB) dump (?P<mysqldump>)",
    re.MULTILINE,
)
_ENDS = re.compile(
    rb"^COMMIT;|^-- PostgreSQL database (?:cluster )?dump complete|^-- Dump completed", re.MULTILINE
)
_GAVE_UP = re.compile(rb"^ROLLBACK; -- due to errors", re.MULTILINE)
_ERROR = re.compile(rb"^/\*+ ERROR: (?P<what>.*?) \*+/$", re.MULTILINE)
_HEAD, _TAIL = 1024, 4096
_GZIP = b"\x1f\x8b"
_UNPACKED = 1 << 20
_ANY_GZIP = 16 + zlib.MAX_WBITS


class Dump:
    """Looks at a dump while it passes; keeps its first and last words only."""

    def __init__(self) -> None:
        self._head, self._tail = b"", b""
        self._size = 0
        self._gzip: zlib._Decompress | None = None
        self._broken = ""

    def feed(self, piece: bytes | memoryview) -> None:
        """More of it."""
        piece = bytes(piece)
        if not self._size and piece.startswith(_GZIP):
            self._gzip = zlib.decompressobj(_ANY_GZIP)
        self._size += len(piece)
        if self._gzip is None:
            self._see(piece)
        elif not self._broken:
            self._unpack(self._gzip, piece)

    def _unpack(self, one: zlib._Decompress, piece: bytes) -> None:
        try:
            while piece:
                if one.eof:  # another one behind it
                    one = self._gzip = zlib.decompressobj(_ANY_GZIP)
                self._see(one.decompress(piece, _UNPACKED))
                piece = one.unused_data.lstrip(b"\0") if one.eof else one.unconsumed_tail
        except zlib.error as error:
            self._broken = f"gzip's data is damaged ({error})"

    def _see(self, text: bytes) -> None:
        if len(self._head) < _HEAD:
            self._head += text[: _HEAD - len(self._head)]
        self._tail = (self._tail + text)[-_TAIL:]

    @property
    def trouble(self) -> str:
        """Why it cannot be whole; ``""``: nothing is known against it."""
        if self._broken:
            return self._broken
        if self._gzip is not None and not self._gzip.eof:
            return "gzip's data breaks off"
        begins = _BEGINS.search(self._head)
        if begins is None:
            return ""
        kind = begins.lastgroup
        if _GAVE_UP.search(self._tail):
            found = _ERROR.search(self._tail)
            why = f": {found['what'].decode(errors='replace')}" if found else ""
            return f"{kind} gave up in the middle of it, and ended as if all were well{why}"
        if not _ENDS.search(self._tail):
            return f"it begins as {kind} writes, and does not end as {kind} ends"
        return ""
