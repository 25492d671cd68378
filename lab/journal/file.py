"""The journal's file as such: one connection, whole transactions, and what the disk does told."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.journal.opening import opened

_MEND = "make room or mend the disk, then the same command again"
_HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE type='table' AND name=?"
_SOON = 1.0
"""Seconds: no more of the history of changes than this is lost when the power goes."""


class JournalFile:
    """The file: statements go in, rows come out, every failure is a LabError."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal.db"
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._flushed = float("-inf")

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _connection(self, *, writing: bool) -> sqlite3.Connection | None:
        """The database; ``None`` where nothing was ever recorded: reading creates nothing."""
        if self._db is None:
            self._db = opened(self._path, writing=writing)
        return self._db

    def copy_to(self, path: Path) -> None:
        """A whole copy as of one moment, while others may write. Raises LabError."""
        with self._lock:
            try:
                source = self._connection(writing=True)
                assert source is not None  # noqa: S101 (writing opens or raises)
                with closing(sqlite3.connect(path)) as copy:
                    source.backup(copy)
            except (sqlite3.Error, OSError) as error:
                raise LabError(f"Unable to copy the journal {self._path}: {error}.") from error

    def _write(self, sql: str, values: Iterable[Any]) -> int:
        return self._write_all((sql, tuple(values)))

    def _write_all(self, *statements: tuple[str, tuple[Any, ...]], at_once: bool = True) -> int:
        """All of them or none; returns the first row's number.

        They survive this process's end in any case, and a power cut at once, or soon.
        """
        with self._lock:
            try:
                db = self._connection(writing=True)
                assert db is not None  # noqa: S101 (writing opens or raises)
                flushes = at_once or time.monotonic() - self._flushed > _SOON
                db.execute(f"PRAGMA synchronous={'FULL' if flushes else 'NORMAL'}")
                number = _transaction(db, statements)
            except (sqlite3.Error, OSError) as error:
                raise LabError(
                    f"Unable to write the journal {self._path}: {error}.",
                    hint=_MEND,
                ) from error
            if flushes:
                self._flushed = time.monotonic()
            return number

    def _rows(self, sql: str, values: Iterable[Any] = ()) -> list[Any]:
        with self._lock:
            try:
                db = self._connection(writing=False)
                return db.execute(sql, tuple(values)).fetchall() if db is not None else []
            except (sqlite3.Error, OSError) as error:
                away = f"keep a copy of {self._path}, move it away, and run again"
                raise LabError(
                    f"Unable to read the journal {self._path}: {error}.",
                    hint=_MEND if isinstance(error, (sqlite3.OperationalError, OSError)) else away,
                ) from error

    def _has(self, table: str) -> bool:
        return bool(self._rows(_HAS_TABLE, (table,)))


def _transaction(db: sqlite3.Connection, statements: Iterable[tuple[str, tuple[Any, ...]]]) -> int:
    db.execute("BEGIN IMMEDIATE")
    try:
        numbers = [db.execute(sql, values).lastrowid for sql, values in statements]
        db.execute("COMMIT")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return numbers[0] or 0
