"""Opening the journal's file: looked at before it is touched, and refused rather than rewritten."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

from lab.errors import LabError

VERSION = 1
_SCHEMA = """
CREATE TABLE run (id TEXT PRIMARY KEY, verb TEXT NOT NULL, started REAL NOT NULL, ended REAL,
  exit_code INTEGER, who TEXT NOT NULL, git_commit TEXT, hosts TEXT NOT NULL, pid INTEGER NOT NULL);
CREATE TABLE part (run TEXT NOT NULL, host TEXT NOT NULL, layer TEXT NOT NULL, part TEXT NOT NULL,
  outcome TEXT NOT NULL, spec TEXT NOT NULL, ended REAL NOT NULL, report TEXT NOT NULL);
CREATE INDEX part_by_host ON part (host, layer, part, ended);
CREATE TABLE change (id INTEGER PRIMARY KEY, run TEXT NOT NULL, host TEXT NOT NULL,
  layer TEXT NOT NULL, part TEXT NOT NULL, action TEXT NOT NULL, what TEXT NOT NULL,
  started REAL NOT NULL, ended REAL, ok INTEGER);
CREATE TABLE owned (host TEXT NOT NULL, layer TEXT NOT NULL, part TEXT NOT NULL,
  driver TEXT NOT NULL, persona TEXT NOT NULL, provider TEXT NOT NULL, spec TEXT NOT NULL,
  since REAL NOT NULL, PRIMARY KEY (host, layer, part));
"""
_MAGIC = b"SQLite format 3\0"
_HEADER = 100
_PATIENCE = 30.0
"""Seconds for another run's write to finish."""


def opened(path: Path, *, writing: bool) -> sqlite3.Connection | None:
    """The database. ``None`` where nothing was ever recorded and nothing is to be.

    Raises LabError where the file is no journal, damaged, cut short or from a newer Strata; it is
    then as it was. Raises sqlite3.Error or OSError for what the disk does.
    """
    if not _looked_at(path) and not writing:
        return None
    if writing:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return _connected(path, writing=writing)
    except sqlite3.OperationalError:  # what the disk does, not what the file is
        if writing or _has_log(path):
            raise
        return _frozen(path)
    except sqlite3.DatabaseError as error:
        raise _refused(path, str(error)) from error


def _looked_at(path: Path) -> bool:
    """Whether there is something in the file. Reads the header only; raises LabError for a bad one.

    SQLite itself would rewrite the file of a newer Strata when it is closed after a crash.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER)
        size = path.stat().st_size
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _refused(path, str(error.strerror)) from error
    if not head:
        return False  # a run was ended before it wrote anything
    if len(head) < _HEADER or not head.startswith(_MAGIC):
        raise _refused(path, "it is cut short" if _MAGIC.startswith(head[:16]) else "it is none")
    counter, pages = struct.unpack(">II", head[24:32])
    page = struct.unpack(">H", head[16:18])[0]
    counted_at = struct.unpack(">I", head[92:96])[0]
    whole = pages * (65536 if page == 1 else page)
    if counter == counted_at and size < whole and not _has_log(path):
        raise _refused(path, f"it is cut short ({size} of {whole} bytes)")
    _check_version(path, struct.unpack(">I", head[60:64])[0])
    return True


def _check_version(path: Path, version: int) -> None:
    if version > VERSION:
        raise LabError(
            f"Unable to use the journal {path}: a newer Strata wrote it"
            f" (format {version}, this one knows {VERSION}).",
            hint="update Strata on this machine",
        )


def _check_empty(db: sqlite3.Connection, path: Path) -> None:
    if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise _refused(path, "it is another program's database")


def _connected(path: Path, *, writing: bool) -> sqlite3.Connection | None:
    db = sqlite3.connect(path, timeout=_PATIENCE, check_same_thread=False, isolation_level=None)
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        _check_version(path, version)
        if version == 0:
            _check_empty(db, path)
        if version == 0 and not writing:
            db.close()
            return None
        if version == 0:
            _make(db)
        db.execute("PRAGMA synchronous=FULL")
    except BaseException:
        db.close()
        raise
    return db


def _make(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("BEGIN IMMEDIATE")
    if db.execute("PRAGMA user_version").fetchone()[0] == 0:
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version={VERSION}")
    db.execute("COMMIT")


def _has_log(path: Path) -> bool:
    """Whether there is a write-ahead log with something in it."""
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _frozen(path: Path) -> sqlite3.Connection | None:
    """For reading only, where nothing can be written: nobody writes to it then, and it is whole."""
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        db = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            db.close()
            return None
    except sqlite3.DatabaseError as error:
        raise _refused(path, str(error)) from error
    return db


def _refused(path: Path, why: str) -> LabError:
    return LabError(
        f"Unable to open the journal {path}: {why}.",
        hint=f"keep a copy of {path}, move it away, and run again",
    )
