"""What was done, by whom, and what is ours: SQLite; and who may work on a host: flock.

Reading never writes. Locks die with their process, so that nobody ever unlocks by hand.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from lab.errors import LabError, Locked
from lab.events import to_json
from lab.masking import mask
from lab.model.applied import Applied
from lab.model.outcome import PartReport
from lab.model.recovered import CaptureRecord, DrillRecord

VERSION = 1
_SOON = 1.0
"""Seconds: no more of the history of changes than this is lost when the power goes."""
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


# Added to files of the same version when it is first needed: an older Strata overlooks it.
_SURVEY = """CREATE TABLE IF NOT EXISTS survey (host TEXT NOT NULL, at REAL NOT NULL,
  score INTEGER NOT NULL, things INTEGER NOT NULL)"""
_RECOVERY = (
    """CREATE TABLE IF NOT EXISTS capture (host TEXT NOT NULL, data TEXT NOT NULL, at REAL NOT NULL,
  snapshot TEXT NOT NULL, files INTEGER NOT NULL, size INTEGER NOT NULL, root TEXT NOT NULL,
  flagged TEXT NOT NULL, verified REAL, PRIMARY KEY (host, data, snapshot))""",
    """CREATE TABLE IF NOT EXISTS drill (host TEXT NOT NULL, at REAL NOT NULL,
  proved INTEGER NOT NULL, rto REAL, rpo REAL, missing INTEGER NOT NULL, evidence TEXT NOT NULL)""",
)
_LOOK = """CREATE TABLE IF NOT EXISTS look (host TEXT NOT NULL, layer TEXT NOT NULL,
  part TEXT NOT NULL, at REAL NOT NULL, outcome TEXT NOT NULL, changes INTEGER NOT NULL,
  spec TEXT NOT NULL, since REAL NOT NULL, PRIMARY KEY (host, layer, part))"""
# From key to key along the index: as quick with a year of runs as with one.
_LAST_PARTS = """WITH RECURSIVE key(id) AS (
  SELECT (SELECT rowid FROM part ORDER BY host, layer, part LIMIT 1)
  UNION ALL
  SELECT (SELECT next.rowid FROM part next, part now WHERE now.rowid=key.id
    AND (next.host, next.layer, next.part) > (now.host, now.layer, now.part)
    ORDER BY next.host, next.layer, next.part LIMIT 1) FROM key WHERE key.id IS NOT NULL)
  SELECT last.run, last.host, last.layer, last.part, last.outcome, last.spec, last.ended
  FROM key JOIN part one ON one.rowid=key.id JOIN part last ON last.rowid=(
    SELECT p.rowid FROM part p WHERE p.host=one.host AND p.layer=one.layer AND p.part=one.part
    ORDER BY p.ended DESC LIMIT 1)"""
_BAD_SINCE = """SELECT min(ended) FROM part WHERE host=:host AND layer=:layer AND part=:part
  AND ended > coalesce((SELECT max(ended) FROM part WHERE host=:host AND layer=:layer AND part=:part
    AND outcome IN ('unchanged', 'changed', 'pending')), 0)"""
_APPLIED = """CREATE TABLE IF NOT EXISTS applied (host TEXT PRIMARY KEY, git_commit TEXT NOT NULL,
  run TEXT NOT NULL, at REAL NOT NULL)"""
_HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE type='table' AND name=?"


@dataclass(frozen=True, slots=True)
class Score:
    """What a host's last survey came to; ``things`` counts what is undeclared and not accepted."""

    host: str
    at: float
    score: int
    things: int


@dataclass(frozen=True, slots=True)
class Owned:
    """One thing the ledger says is ours: enough to observe and to delete it."""

    host: str
    layer: str
    part: str
    driver: str
    persona: str
    provider: str
    spec: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of the past; ``ended`` is ``None`` where it was cut off (or still runs)."""

    run: str
    verb: str
    started: float
    ended: float | None
    exit_code: int | None
    who: str
    commit: str | None
    hosts: tuple[str, ...]
    changes: int


@dataclass(frozen=True, slots=True)
class PartRecord:
    """How a part of a host ended last, and the digest of the spec it ended with."""

    run: str
    host: str
    layer: str
    part: str
    outcome: str
    spec: str
    ended: float


@dataclass(frozen=True, slots=True)
class Look:
    """What the last ``verify`` saw of a part, and since when it has been seeing just that.

    ``spec`` is the digest of what was declared then; ``changes`` counts what was to be done.
    """

    host: str
    layer: str
    part: str
    at: float
    outcome: str
    changes: int
    spec: str
    since: float


@dataclass(frozen=True, slots=True)
class Holder:
    """Who works on a host at this moment: it holds the host's lock."""

    who: str
    pid: int
    since: float
    command: str


def who() -> str:
    """``user@machine``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def commit_of(root: Path) -> str | None:
    """The checkout's commit (``"1a2b3c4d5e6f"``, with ``+`` where files differ), or ``None``."""
    try:
        head = subprocess.run(
            [
                "git",
                "-C",
                str(root),
                "describe",
                "--always",
                "--abbrev=12",
                "--exclude=*",
                "--dirty=+",
            ],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() or None if head.returncode == 0 else None


class Journal:
    """The record of one lab on this machine. Usable from several threads."""

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

    def copy_to(self, path: Path) -> None:
        """A whole copy as of one moment, while others may write. Raises LabError."""
        with self._lock:
            source = self._writer()
            try:
                copy = sqlite3.connect(path)
                try:
                    source.backup(copy)
                finally:
                    copy.close()
            except sqlite3.Error as error:
                raise LabError(f"Unable to copy the journal {self._path}: {error}.") from error

    def _reader(self) -> sqlite3.Connection | None:
        """The database, or ``None`` where nothing was ever recorded. Creates nothing."""
        if self._db is None and self._path.exists():
            self._db = self._open()
        return self._db

    def _writer(self) -> sqlite3.Connection:
        if self._db is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = self._open()
        return self._db

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            raise LabError(
                f"Unable to open the journal {self._path}: {error}.",
                hint=f"keep a copy of {self._path}, move it away, and run again",
            ) from error

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=30, check_same_thread=False, isolation_level=None)
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            db.close()
            raise LabError(
                f"Unable to use the journal {self._path}: a newer Strata wrote it"
                f" (format {version}, this one knows {VERSION}).",
                hint="update Strata on this machine",
            )
        if version == 0:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("BEGIN IMMEDIATE")
            if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={VERSION}")
            db.execute("COMMIT")
        db.execute("PRAGMA synchronous=FULL")
        return db

    def _write(self, sql: str, values: Iterable[Any], *, at_once: bool = True) -> int:
        """One row. It survives this process's end always, and a power cut: at once, or soon."""
        with self._lock:
            try:
                db = self._writer()
                flushes = at_once or time.monotonic() - self._flushed > _SOON
                db.execute(f"PRAGMA synchronous={'FULL' if flushes else 'NORMAL'}")
                number = db.execute(sql, tuple(values)).lastrowid or 0
            except sqlite3.Error as error:
                raise LabError(
                    f"Unable to write the journal {self._path}: {error}.",
                    hint="make room or mend the disk, then the same command again",
                ) from error
            if flushes:
                self._flushed = time.monotonic()
            return number

    def _rows(self, sql: str, values: Iterable[Any] = ()) -> list[Any]:
        with self._lock:
            db = self._reader()
            return db.execute(sql, tuple(values)).fetchall() if db is not None else []

    def begin_run(self, run: str, verb: str, hosts: Iterable[str], commit: str | None) -> None:
        """Record that a run starts."""
        self._write(
            "INSERT INTO run VALUES (?,?,?,NULL,NULL,?,?,?,?)",
            (run, verb, time.time(), who(), commit, json.dumps(list(hosts)), os.getpid()),
        )

    def end_run(self, run: str, exit_code: int) -> None:
        """Record how it ended."""
        self._write("UPDATE run SET ended=?, exit_code=? WHERE id=?", (time.time(), exit_code, run))

    def begin_change(self, run: str, key: tuple[str, str, str], action: str, what: str) -> int:
        """Record that a change starts, before it does; returns its number."""
        return self._write(
            "INSERT INTO change (run,host,layer,part,action,what,started) VALUES (?,?,?,?,?,?,?)",
            (run, *key, action, mask(what), time.time()),
            at_once=False,
        )

    def end_change(self, number: int, *, ok: bool) -> None:
        """Record how it ended."""
        self._write(
            "UPDATE change SET ended=?, ok=? WHERE id=?", (time.time(), ok, number), at_once=False
        )

    def end_part(self, run: str, report: PartReport, spec: str) -> None:
        """Record how a part of a host ended; ``spec`` is the digest of what was declared."""
        self._write(
            "INSERT INTO part VALUES (?,?,?,?,?,?,?,?)",
            (
                run,
                report.host,
                report.layer,
                report.part,
                report.outcome.value,
                spec,
                time.time(),
                json.dumps(to_json(report)),
            ),
        )

    def own(self, thing: Owned) -> None:
        """Enter a thing into the ledger, before it is made; again is fine."""
        self._write(
            "INSERT INTO owned VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (host,layer,part) DO UPDATE"
            " SET driver=excluded.driver, persona=excluded.persona, provider=excluded.provider,"
            " spec=excluded.spec",
            (
                thing.host,
                thing.layer,
                thing.part,
                thing.driver,
                thing.persona,
                thing.provider,
                thing.spec,
                time.time(),
            ),
        )

    def disown(self, host: str, layer: str, part: str) -> None:
        """Take it out again: only once its deletion has been observed."""
        self._write("DELETE FROM owned WHERE host=? AND layer=? AND part=?", (host, layer, part))

    def ledger(self) -> list[Owned]:
        """Everything that is ours."""
        rows = self._rows("SELECT host,layer,part,driver,persona,provider,spec FROM owned")
        return [Owned(*row) for row in rows]

    def last_parts(self) -> list[PartRecord]:
        """For every part of every host: how it ended last."""
        rows = self._rows(_LAST_PARTS)
        return [PartRecord(*row) for row in rows]

    def bad_since(self, host: str, layer: str, part: str) -> float | None:
        """When a part first ended badly, without a good end since; ``None`` = it is well."""
        keys = {"host": host, "layer": layer, "part": part}
        with self._lock:
            db = self._reader()
            row = db.execute(_BAD_SINCE, keys).fetchone() if db is not None else None
        return row[0] if row else None

    def first_seen(self) -> dict[str, float]:
        """When each host first took part in a run."""
        return dict(self._rows("SELECT host,min(ended) FROM part GROUP BY host"))

    def keep_looks(self, looks: Iterable[Look]) -> None:
        """Record what a verify saw, all of it at once, in place of what the one before saw."""
        self._write(_LOOK, ())
        with self._lock:
            try:
                db = self._writer()
                db.execute("BEGIN IMMEDIATE")
                with db:
                    db.executemany(
                        "INSERT INTO look VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (host,layer,part)"
                        " DO UPDATE SET at=excluded.at, changes=excluded.changes,"
                        " spec=excluded.spec, outcome=excluded.outcome, since=CASE outcome"
                        " WHEN excluded.outcome THEN since ELSE excluded.since END",
                        [astuple(look) for look in looks],
                    )
            except sqlite3.Error as error:
                raise LabError(
                    f"Unable to write the journal {self._path}: {error}.",
                    hint="make room or mend the disk, then the same command again",
                ) from error

    def looks(self) -> list[Look]:
        """What was seen last of every part that a verify ever looked at."""
        if not self._rows(_HAS_TABLE, ("look",)):
            return []
        return [Look(*row) for row in self._rows("SELECT * FROM look")]

    def keep_score(self, host: str, score: int, things: int) -> None:
        """Record what looking at a whole host came to."""
        self._write(_SURVEY, ())
        self._write("INSERT INTO survey VALUES (?,?,?,?)", (host, time.time(), score, things))

    def scores(self) -> dict[str, Score]:
        """The last one of every host that was ever looked at."""
        if not self._rows(_HAS_TABLE, ("survey",)):
            return {}
        rows = self._rows("SELECT host,max(at),score,things FROM survey GROUP BY host")
        return {row[0]: Score(*row) for row in rows}

    def keep_capture(self, record: CaptureRecord) -> None:
        """Record a capture, or what has become known of it since."""
        self._write(_RECOVERY[0], ())
        self._write("INSERT OR REPLACE INTO capture VALUES (?,?,?,?,?,?,?,?,?)", astuple(record))

    def forget_capture(self, host: str, snapshot: str) -> None:
        """The repository no longer holds it."""
        if self._rows(_HAS_TABLE, ("capture",)):
            self._write("DELETE FROM capture WHERE host=? AND snapshot=?", (host, snapshot))

    def captures(self) -> list[CaptureRecord]:
        """All that are known, the newest first."""
        if not self._rows(_HAS_TABLE, ("capture",)):
            return []
        return [CaptureRecord(*row) for row in self._rows("SELECT * FROM capture ORDER BY at DESC")]

    def keep_drill(self, record: DrillRecord) -> None:
        """Record how a drill ended."""
        self._write(_RECOVERY[1], ())
        self._write("INSERT INTO drill VALUES (?,?,?,?,?,?,?)", astuple(record))

    def drills(self) -> list[DrillRecord]:
        """All of them, the newest first."""
        if not self._rows(_HAS_TABLE, ("drill",)):
            return []
        rows = self._rows("SELECT * FROM drill ORDER BY at DESC, rowid DESC")
        return [DrillRecord(row[0], row[1], bool(row[2]), *row[3:]) for row in rows]

    def keep_applied(self, host: str, applied: Applied) -> None:
        """Record what a host was brought to, as a whole."""
        self._write(_APPLIED, ())
        self._write("INSERT OR REPLACE INTO applied VALUES (?,?,?,?)", (host, *astuple(applied)))

    def forget_applied(self, host: str) -> None:
        """The host is gone."""
        if self._rows(_HAS_TABLE, ("applied",)):
            self._write("DELETE FROM applied WHERE host=?", (host,))

    def applied(self) -> dict[str, Applied]:
        """What every host was last brought to."""
        if not self._rows(_HAS_TABLE, ("applied",)):
            return {}
        return {row[0]: Applied(*row[1:]) for row in self._rows("SELECT * FROM applied")}

    def runs(self, limit: int) -> list[RunRecord]:
        """The newest runs first."""
        rows = self._rows(
            "SELECT id,verb,started,ended,exit_code,who,git_commit,hosts,"
            " (SELECT count(*) FROM change WHERE run=run.id AND ok=1)"
            " FROM run ORDER BY started DESC, rowid DESC LIMIT ?",
            (limit,),
        )
        return [
            RunRecord(run, verb, at, ended, code, by, commit, tuple(json.loads(hosts)), changes)
            for run, verb, at, ended, code, by, commit, hosts, changes in rows
        ]


@contextmanager
def locked(folder: Path, hosts: Iterable[str], verb: str) -> Iterator[None]:
    """Hold the hosts' locks, all or none; disjoint runs go side by side.

    Raises Locked at once, naming the holder, where another process holds one of them. The kernel
    frees them when this process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as held:
        for host in sorted(hosts):
            held.callback(_release, _take(folder / f"{host}.lock", host, verb))
        yield


def holders(folder: Path) -> dict[str, Holder]:
    """By host: who holds its lock right now. Changes nothing and stands in nobody's way.

    The lock itself is asked only where a living process claims it: what a killed one left behind
    is seen from its process, so that looking never makes a run find a lock taken.
    """
    found: dict[str, Holder] = {}
    for path in sorted(folder.glob("*.lock")):
        holder = _claimed(path)
        if holder is not None and _held(path):
            found[path.stem] = holder
    return found


def _claimed(path: Path) -> Holder | None:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        pid, since = int(said["pid"]), float(said["since"])
        holder = Holder(str(said["who"]), pid, since, str(said["command"]))
        os.kill(holder.pid, 0)
    except PermissionError:
        return holder  # alive, and another user's
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return holder


def _held(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _release(file: TextIO) -> None:
    with suppress(OSError):
        file.truncate(0)
    file.close()


def _take(path: Path, host: str, verb: str) -> TextIO:
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read()
        file.close()
        raise Locked(
            f"Unable to {verb} {host}: {holder_of(holder)}.",
            hint="wait for it, then the same command again; nothing needs to be unlocked",
        ) from None
    claim(file)
    return file


def claim(file: TextIO) -> None:
    """Say in a lock's file who holds it."""
    file.truncate(0)
    json.dump({"who": who(), "pid": os.getpid(), "since": time.time(), "command": _command()}, file)
    file.flush()


def _command() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]


def holder_of(text: str) -> str:
    """What :func:`claim` wrote, as a sentence without its end."""
    try:
        holder = json.loads(text)
        since = datetime.fromtimestamp(holder["since"], UTC).astimezone().strftime("%H:%M:%S")
        return (
            f"{holder['who']} runs '{holder['command']}' on it"
            f" (process {holder['pid']}, since {since})"
        )
    except (ValueError, KeyError, TypeError):
        return "another run holds it"
