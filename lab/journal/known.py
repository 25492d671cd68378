"""What is remembered of hosts between runs: surveys, looks, captures, drills, commits."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import astuple

from lab.journal.file import JournalFile
from lab.journal.records import Look, Score
from lab.model.applied import Applied
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
_LOOK = """CREATE TABLE IF NOT EXISTS look (host TEXT NOT NULL, layer TEXT NOT NULL,
  part TEXT NOT NULL, at REAL NOT NULL, outcome TEXT NOT NULL, changes INTEGER NOT NULL,
  spec TEXT NOT NULL, since REAL NOT NULL, PRIMARY KEY (host, layer, part))"""
_KEEP_LOOK = """INSERT INTO look VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (host,layer,part)
  DO UPDATE SET at=excluded.at, changes=excluded.changes, spec=excluded.spec,
  outcome=excluded.outcome, since=CASE outcome WHEN excluded.outcome THEN since
  ELSE excluded.since END"""
_APPLIED = """CREATE TABLE IF NOT EXISTS applied (host TEXT PRIMARY KEY, git_commit TEXT NOT NULL,
  run TEXT NOT NULL, at REAL NOT NULL)"""


class KnownHosts(JournalFile):
    """Rows a host; each table is made when it is first needed."""

    def keep_score(self, host: str, score: int, things: int) -> None:
        """Record what looking at a whole host came to."""
        row = (host, time.time(), score, things)
        self._write_all((_SURVEY, ()), ("INSERT INTO survey VALUES (?,?,?,?)", row))

    def scores(self) -> dict[str, Score]:
        """The last one of every host that was ever looked at."""
        if not self._has("survey"):
            return {}
        rows = self._rows("SELECT host,at,score,things,max(rowid) FROM survey GROUP BY host")
        return {row[0]: Score(*row[:4]) for row in rows}

    def keep_capture(self, record: CaptureRecord) -> None:
        """Record a capture, or what has become known of it since."""
        sql = "INSERT OR REPLACE INTO capture VALUES (?,?,?,?,?,?,?,?,?)"
        self._write_all((_RECOVERY[0], ()), (sql, astuple(record)))

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
        sql = "INSERT INTO drill VALUES (?,?,?,?,?,?,?)"
        self._write_all((_RECOVERY[1], ()), (sql, astuple(record)))

    def drills(self) -> list[DrillRecord]:
        """All of them, the newest first."""
        if not self._has("drill"):
            return []
        rows = self._rows("SELECT * FROM drill ORDER BY at DESC, rowid DESC")
        return [DrillRecord(row[0], row[1], bool(row[2]), *row[3:]) for row in rows]

    def keep_looks(self, looks: Iterable[Look]) -> None:
        """Record what a verify saw, all of it at once, in place of what the one before saw."""
        self._write_all((_LOOK, ()), *((_KEEP_LOOK, astuple(look)) for look in looks))

    def looks(self) -> list[Look]:
        """What was seen last of every part that a verify ever looked at."""
        if not self._has("look"):
            return []
        return [Look(*row) for row in self._rows("SELECT * FROM look")]

    def keep_applied(self, host: str, applied: Applied) -> None:
        """Record what a host was brought to, as a whole."""
        self._write_all(
            (_APPLIED, ()),
            ("INSERT OR REPLACE INTO applied VALUES (?,?,?,?)", (host, *astuple(applied))),
        )

    def forget_applied(self, host: str) -> None:
        """The host is gone."""
        if self._has("applied"):
            self._write("DELETE FROM applied WHERE host=?", (host,))

    def applied(self) -> dict[str, Applied]:
        """What every host was last brought to."""
        if not self._has("applied"):
            return {}
        return {row[0]: Applied(*row[1:]) for row in self._rows("SELECT * FROM applied")}
