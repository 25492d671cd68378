"""The record of one lab on this machine: an SQLite file, written before and after each change."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.events import to_json
from lab.journal import past
from lab.journal.locks import held_by, who
from lab.journal.opening import opened
from lab.journal.past import Asked, RunPast
from lab.journal.records import Owned, PartRecord, RunRecord, Score
from lab.masking import mask, masked
from lab.model.outcome import PartReport
from lab.model.plan import Change
from lab.model.plan import to_json as plan_to_json
from lab.model.recovered import CaptureRecord, DrillRecord

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
_MEND = "make room or mend the disk, then the same command again"
_HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE type='table' AND name=?"


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

    def _write(self, sql: str, values: Iterable[Any]) -> int:
        return self._write_all((sql, tuple(values)))

    def _write_all(self, *statements: tuple[str, tuple[Any, ...]]) -> int:
        """All of them or none, and on the disk; returns the first row's number."""
        with self._lock:
            try:
                db = self._connection(writing=True)
                assert db is not None  # noqa: S101 (writing opens or raises)
                return _transaction(db, statements)
            except (sqlite3.Error, OSError) as error:
                raise LabError(
                    f"Unable to write the journal {self._path}: {error}.",
                    hint=_MEND,
                ) from error

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

    def begin_run(
        self,
        run: str,
        verb: str,
        hosts: Iterable[str],
        commit: str | None,
        asked: Asked | None = None,
    ) -> None:
        """Record that a run starts, and what it was asked for."""
        asked = asked or Asked()
        self._write_all(
            (
                "INSERT INTO run VALUES (?,?,?,NULL,NULL,?,?,?,?)",
                (run, verb, time.time(), who(), commit, json.dumps(list(hosts)), os.getpid()),
            ),
            (past.RUN_DETAIL, ()),
            (
                "INSERT INTO run_detail VALUES (?,?,?,?,NULL)",
                (run, mask(asked.command), json.dumps(masked(asked.parameters)), asked.plan),
            ),
        )

    def end_run(
        self, run: str, exit_code: int, *, seconds: float | None = None, plan: str | None = None
    ) -> None:
        """Record how it ended; ``plan`` is the digest of what it did where none was approved."""
        self._write_all(
            ("UPDATE run SET ended=?, exit_code=? WHERE id=?", (time.time(), exit_code, run)),
            (past.RUN_DETAIL, ()),
            (
                "UPDATE run_detail SET seconds=?, plan=coalesce(plan,?) WHERE run=?",
                (seconds, plan, run),
            ),
        )

    def begin_change(
        self,
        run: str,
        key: tuple[str, str, str],
        action: str,
        what: str,
        change: Change | None = None,
    ) -> int:
        """Record that a change starts, before it does; returns its number."""
        detail = json.dumps(masked(plan_to_json(change))) if change is not None else None
        return self._write_all(
            (
                "INSERT INTO change VALUES (NULL,?,?,?,?,?,?,?,NULL,NULL)",
                (run, *key, action, mask(what), time.time()),
            ),
            (past.CHANGE_DETAIL, ()),
            ("INSERT INTO change_detail VALUES ((SELECT max(id) FROM change),?,NULL)", (detail,)),
        )

    def end_change(self, number: int, *, ok: bool, seconds: float | None = None) -> None:
        """Record how it ended."""
        self._write_all(
            ("UPDATE change SET ended=?, ok=? WHERE id=?", (time.time(), ok, number)),
            (past.CHANGE_DETAIL, ()),
            ("UPDATE change_detail SET seconds=? WHERE change=?", (seconds, number)),
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
        rows = self._rows(
            "SELECT run,host,layer,part,outcome,spec,ended,max(rowid) FROM part"
            " GROUP BY host,layer,part"
        )
        return [PartRecord(*row[:7]) for row in rows]

    def keep_score(self, host: str, score: int, things: int) -> None:
        """Record what looking at a whole host came to."""
        self._write(_SURVEY, ())
        self._write("INSERT INTO survey VALUES (?,?,?,?)", (host, time.time(), score, things))

    def scores(self) -> dict[str, Score]:
        """The last one of every host that was ever looked at."""
        if not self._has("survey"):
            return {}
        rows = self._rows("SELECT host,at,score,things,max(rowid) FROM survey GROUP BY host")
        return {row[0]: Score(*row[:4]) for row in rows}

    def keep_capture(self, record: CaptureRecord) -> None:
        """Record a capture, or what has become known of it since."""
        self._write(_RECOVERY[0], ())
        self._write("INSERT OR REPLACE INTO capture VALUES (?,?,?,?,?,?,?,?,?)", astuple(record))

    def forget_capture(self, host: str, snapshot: str) -> None:
        """The repository no longer holds it."""
        if self._has("capture"):
            self._write("DELETE FROM capture WHERE host=? AND snapshot=?", (host, snapshot))

    def captures(self) -> list[CaptureRecord]:
        """All that are known, the newest first."""
        if not self._has("capture"):
            return []
        return [CaptureRecord(*row) for row in self._rows("SELECT * FROM capture ORDER BY at DESC")]

    def keep_drill(self, record: DrillRecord) -> None:
        """Record how a drill ended."""
        self._write(_RECOVERY[1], ())
        self._write("INSERT INTO drill VALUES (?,?,?,?,?,?,?)", astuple(record))

    def drills(self) -> list[DrillRecord]:
        """All of them, the newest first."""
        if not self._has("drill"):
            return []
        rows = self._rows("SELECT * FROM drill ORDER BY at DESC, rowid DESC")
        return [DrillRecord(row[0], row[1], bool(row[2]), *row[3:]) for row in rows]

    def runs(self, limit: int) -> list[RunRecord]:
        """The newest runs first, in the order in which they began, whatever the clock said."""
        rows = self._rows(
            past.RUNS.format(seconds=past.SECONDS if self._has("run_detail") else "NULL")
            + " ORDER BY rowid DESC LIMIT ?",
            (limit,),
        )
        return [self._record(row) for row in rows]

    def run(self, run: str) -> RunPast:
        """Everything about one run, by its whole id. Raises LabError where there is none."""
        has = {name: self._has(name) for name in ("run_detail", "change_detail")}
        return past.read(self._rows, self._record, run, has)

    def named(self, word: str) -> list[str]:
        """The ids of the runs whose id, or the last part of it, begins with that word."""
        like = word.replace("%", "").replace("_", "") + "%"
        sql = "SELECT id FROM run WHERE id LIKE ? OR id LIKE ? ORDER BY rowid DESC"
        return [row[0] for row in self._rows(sql, (like, f"%-{like}"))]

    def changes_of(self, host: str, limit: int = 5000) -> list[past.Touched]:
        """The changes of one host, the newest first: for finding the last that touched a thing."""
        return past.touched(self._rows, host, limit, detailed=self._has("change_detail"))

    def _record(self, row: tuple[Any, ...]) -> RunRecord:
        run, verb, started, ended, code, by, commit, hosts, changes, seconds, pid = row
        names = tuple(json.loads(hosts))
        locks = self._path.parent / "locks"
        running = ended is None and any(pid in held_by(locks / f"{n}.lock") for n in names[:1])
        if seconds is None and ended is not None:
            seconds = max(0.0, ended - started)  # an older Strata measured by the clock alone
        return RunRecord(
            run, verb, started, ended, code, by, commit, names, changes, seconds, running
        )


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
