"""What was pushed and what came of it: a small database beside the journal.

Order is the order of arrival, never the clock's. Reading creates nothing.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lab.errors import LabError

VERSION = 1
_SCHEMA = """
CREATE TABLE request (id INTEGER PRIMARY KEY AUTOINCREMENT, commit_id TEXT NOT NULL, before TEXT,
  by TEXT NOT NULL, at REAL NOT NULL, ended REAL, state TEXT NOT NULL, hosts TEXT NOT NULL,
  said TEXT NOT NULL);
CREATE TABLE host (name TEXT PRIMARY KEY, settled TEXT NOT NULL, commit_id TEXT);
CREATE TABLE trial (host TEXT PRIMARY KEY, branch TEXT NOT NULL, commit_id TEXT NOT NULL,
  until REAL NOT NULL);
"""
# Added to files of the same version when it is first needed: an older Strata overlooks it.
_REFUSED = """CREATE TABLE IF NOT EXISTS refused (commit_id TEXT PRIMARY KEY, by TEXT NOT NULL,
  at REAL NOT NULL, said TEXT NOT NULL)"""
_FIELDS = "id,commit_id,before,by,at,ended,state,hosts,said"


class State(StrEnum):
    """How a request stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"  # for `lab approve`
    UNCHANGED = "unchanged"
    PLANNED = "planned"
    APPLIED = "applied"
    FAILED = "failed"
    REFUSED = "refused"
    SUPERSEDED = "superseded"

    @property
    def is_open(self) -> bool:
        """Whether somebody still works on it, or will."""
        return self in {State.QUEUED, State.RUNNING}


@dataclass(frozen=True, slots=True)
class Request:
    """One commit that arrived. ``said`` is the last word about it, in a sentence."""

    id: int
    commit: str
    before: str | None
    by: str
    at: float
    ended: float | None
    state: State
    hosts: tuple[str, ...]
    said: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A host that runs a branch until a moment (epoch seconds), unless somebody keeps it."""

    host: str
    branch: str
    commit: str
    until: float


@dataclass(frozen=True, slots=True)
class Settled:
    """What a host was last brought to: the digest of its declaration (``""``: not finished)."""

    digest: str
    commit: str | None


class Store:
    """The record of one lab on this machine; each call is whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "gitops.db"

    def add(self, commit: str, before: str | None, by: str) -> int:
        """A commit arrived: it supersedes every one that still waits. Returns its number."""
        with self._writing() as db:
            db.execute(
                "UPDATE request SET state=?, ended=?, said=? WHERE state IN (?,?)",
                (
                    State.SUPERSEDED,
                    time.time(),
                    f"superseded by {commit[:12]}",
                    State.QUEUED,
                    State.WAITING,
                ),
            )
            row = db.execute(
                "INSERT INTO request (commit_id,before,by,at,state,hosts,said)"
                " VALUES (?,?,?,?,?,'[]','')",
                (commit, before, by, time.time(), State.QUEUED),
            )
            return row.lastrowid or 0

    def next(self) -> Request | None:
        """The newest one nobody finished; older ones (a run was cut off) are superseded by it."""
        with self._writing() as db:
            rows = db.execute(
                f"SELECT {_FIELDS} FROM request WHERE state IN (?,?) ORDER BY id DESC",  # noqa: S608
                (State.QUEUED, State.RUNNING),
            ).fetchall()
            for row in rows[1:]:
                db.execute(
                    "UPDATE request SET state=?, ended=?, said=? WHERE id=?",
                    (State.SUPERSEDED, time.time(), f"superseded by {rows[0][1][:12]}", row[0]),
                )
            if not rows:
                return None
            newer = db.execute("SELECT max(id) FROM request").fetchone()[0]
            if newer != rows[0][0]:  # cut off, and a newer commit was dealt with since
                db.execute(
                    "UPDATE request SET state=?, ended=?, said=? WHERE id=?",
                    (State.SUPERSEDED, time.time(), "cut off; a newer commit came", rows[0][0]),
                )
                return None
            db.execute("UPDATE request SET state=? WHERE id=?", (State.RUNNING, rows[0][0]))
            return _request(rows[0])

    def end(self, number: int, state: State, hosts: Iterable[str], said: str) -> None:
        """How it ended, or what it waits for."""
        with self._writing() as db:
            db.execute(
                "UPDATE request SET state=?, ended=?, hosts=?, said=? WHERE id=?",
                (state, time.time(), json.dumps(list(hosts)), said, number),
            )

    def request(self, number: int) -> Request | None:
        """That one, or ``None``."""
        rows = self._rows(f"SELECT {_FIELDS} FROM request WHERE id=?", (number,))  # noqa: S608
        return _request(rows[0]) if rows else None

    def requests(self, limit: int) -> list[Request]:
        """The newest first."""
        rows = self._rows(f"SELECT {_FIELDS} FROM request ORDER BY id DESC LIMIT ?", (limit,))  # noqa: S608
        return [_request(row) for row in rows]

    def refuse(self, commit: str, by: str, said: str) -> None:
        """A commit was turned away at the door: for whoever waits for it."""
        with self._writing() as db:
            db.execute(_REFUSED)
            db.execute(
                "INSERT OR REPLACE INTO refused VALUES (?,?,?,?)", (commit, by, time.time(), said)
            )

    def find(self, prefix: str) -> list[Request]:
        """How each commit that begins so stands: one a commit, the newest word about it.

        Those that were turned away at the door have the number 0.
        """
        like = f"{prefix}%"
        rows = self._rows(
            f"SELECT {_FIELDS} FROM request WHERE commit_id LIKE ? ORDER BY id",  # noqa: S608
            (like,),
        )
        found = {row[1]: _request(row) for row in rows}
        if self._rows("SELECT 1 FROM sqlite_master WHERE type='table' AND name='refused'"):
            for commit, by, at, said in self._rows(
                "SELECT commit_id,by,at,said FROM refused WHERE commit_id LIKE ?", (like,)
            ):
                if commit not in found or found[commit].at < at:
                    found[commit] = Request(0, commit, None, by, at, at, State.REFUSED, (), said)
        return list(found.values())

    def superseded_by(self, request: Request) -> list[Request]:
        """Those that this one took the place of."""
        rows = self._rows(
            f"SELECT {_FIELDS} FROM request WHERE id<? AND state=? AND said=?",  # noqa: S608
            (request.id, State.SUPERSEDED, f"superseded by {request.commit[:12]}"),
        )
        return [_request(row) for row in rows]

    def settled(self) -> dict[str, Settled]:
        """Host name to what it was last brought to."""
        rows = self._rows("SELECT name,settled,commit_id FROM host ORDER BY rowid")
        return {name: Settled(digest, commit) for name, digest, commit in rows}

    def settle(self, hosts: Mapping[str, str], commit: str | None) -> None:
        """These hosts are dealt with; ``commit`` is recorded where it was applied."""
        with self._writing() as db:
            db.executemany(
                "INSERT INTO host VALUES (?,?,?) ON CONFLICT (name) DO UPDATE SET"
                " settled=excluded.settled, commit_id=coalesce(excluded.commit_id, commit_id)",
                [(name, digest, commit) for name, digest in hosts.items()],
            )

    def forget(self, hosts: Iterable[str]) -> None:
        """These hosts are no longer declared."""
        with self._writing() as db:
            db.executemany("DELETE FROM host WHERE name=?", [(name,) for name in hosts])

    def trials(self) -> dict[str, Trial]:
        """Hosts that run a branch for now."""
        rows = self._rows("SELECT host,branch,commit_id,until FROM trial")
        return {row[0]: Trial(*row) for row in rows}

    def begin_trial(self, trial: Trial) -> None:
        """Record it, before anything is changed."""
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO trial VALUES (?,?,?,?)",
                (trial.host, trial.branch, trial.commit, trial.until),
            )

    def end_trial(self, host: str) -> None:
        """It was kept, or reverted."""
        with self._writing() as db:
            db.execute("DELETE FROM trial WHERE host=?", (host,))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            db = self._open()
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            finally:
                db.close()  # without the COMMIT nothing of it stays
        except sqlite3.Error as error:
            raise LabError(
                f"Unable to write {self._path}: {error}.",
                hint="make room or mend the disk, then: lab gitops run",
            ) from error

    def _rows(self, sql: str, values: Iterable[Any] = ()) -> list[Any]:
        if not self._path.exists():
            return []
        try:
            db = self._open()
            try:
                return db.execute(sql, tuple(values)).fetchall()
            finally:
                db.close()
        except sqlite3.Error as error:
            raise LabError(
                f"Unable to read {self._path}: {error}.",
                hint=f"keep a copy of {self._path}, move it away, and push again",
            ) from error

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            db.close()
            raise LabError(
                f"Unable to use {self._path}: a newer Strata wrote it"
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


def _request(row: Any) -> Request:
    number, commit, before, by, at, ended, state, hosts, said = row
    names = tuple(json.loads(hosts))
    return Request(number, commit, before, by, at, ended, State(state), names, said)
