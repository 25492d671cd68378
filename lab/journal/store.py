"""The record of one lab on this machine: an SQLite file, written before and after each change."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab.events import to_json
from lab.journal import past
from lab.journal.known import KnownHosts
from lab.journal.locks import held_by, who
from lab.journal.past import Asked, RunPast
from lab.journal.records import Owned, PartRecord, RunRecord
from lab.masking import mask, masked
from lab.model.outcome import PartReport
from lab.model.plan import Change
from lab.model.plan import to_json as plan_to_json

# From key to key along the index: as quick with a year of runs as with one.
_LAST_PARTS = """WITH RECURSIVE key(id) AS (
  SELECT (SELECT rowid FROM part ORDER BY host, layer, part LIMIT 1)
  UNION ALL
  SELECT (SELECT next.rowid FROM part next, part now WHERE now.rowid=key.id
    AND (next.host, next.layer, next.part) > (now.host, now.layer, now.part)
    ORDER BY next.host, next.layer, next.part LIMIT 1) FROM key WHERE key.id IS NOT NULL)
  SELECT last.run, last.host, last.layer, last.part, last.outcome, last.spec, last.ended
  FROM key JOIN part one ON one.rowid=key.id JOIN part last ON last.rowid=(
    SELECT max(p.rowid) FROM part p
    WHERE p.host=one.host AND p.layer=one.layer AND p.part=one.part)"""
_BAD_SINCE = """SELECT ended FROM part WHERE host=? AND layer=? AND part=?
  AND rowid > coalesce((SELECT max(rowid) FROM part WHERE host=? AND layer=? AND part=?
    AND outcome IN ('unchanged', 'changed', 'pending')), 0) ORDER BY rowid LIMIT 1"""


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


class Journal(KnownHosts):
    """The record of one lab on this machine. Usable from several threads."""

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
            at_once=False,
        )

    def end_change(self, number: int, *, ok: bool, seconds: float | None = None) -> None:
        """Record how it ended."""
        self._write_all(
            ("UPDATE change SET ended=?, ok=? WHERE id=?", (time.time(), ok, number)),
            (past.CHANGE_DETAIL, ()),
            ("UPDATE change_detail SET seconds=? WHERE change=?", (seconds, number)),
            at_once=False,
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
        """For every part of every host: how it ended last, whatever the clock said."""
        return [PartRecord(*row) for row in self._rows(_LAST_PARTS)]

    def bad_since(self, host: str, layer: str, part: str) -> float | None:
        """When a part first ended badly, without a good end since; ``None`` = it is well."""
        rows = self._rows(_BAD_SINCE, (host, layer, part) * 2)
        return rows[0][0] if rows else None

    def first_seen(self) -> dict[str, float]:
        """When each host first took part in a run."""
        return dict(self._rows("SELECT host,min(ended) FROM part GROUP BY host"))

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
