"""One run of the past, read back whole: what was asked, how each part and each change ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lab.errors import LabError
from lab.journal.records import RunRecord
from lab.model.outcome import Failure, Outcome, PartReport
from lab.model.plan import Action, Change, Plan, plan_from_json

# Tables of their own beside `run` and `change`: an older Strata overlooks them.
RUN_DETAIL = """CREATE TABLE IF NOT EXISTS run_detail (run TEXT PRIMARY KEY,
  command TEXT NOT NULL, parameters TEXT NOT NULL, plan TEXT, seconds REAL)"""
CHANGE_DETAIL = """CREATE TABLE IF NOT EXISTS change_detail (change INTEGER PRIMARY KEY,
  detail TEXT, seconds REAL)"""
SECONDS = "(SELECT seconds FROM run_detail WHERE run=run.id)"
RUNS = (
    "SELECT id,verb,started,ended,exit_code,who,git_commit,hosts,"
    " (SELECT count(*) FROM change WHERE run=run.id AND ok=1),{seconds},pid FROM run"
)
Rows = Callable[..., list[Any]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was asked for.

    Attributes:
        command: The command line, secrets masked; ``""`` where it is not known.
        parameters: Layer, flags and approvals, as JSON values.
        plan: The digest of the plan that was approved; ``None`` where none was made beforehand.
    """

    command: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    plan: str | None = None


@dataclass(frozen=True, slots=True)
class PartPast:
    """How one part of one host ended; ``report`` is what the run said of it then."""

    report: PartReport
    spec: str
    ended: float


@dataclass(frozen=True, slots=True)
class ChangePast:
    """One change; ``ok`` is ``None`` where nobody saw its end. ``change`` holds its fields."""

    host: str
    layer: str
    part: str
    change: Change
    started: float
    ended: float | None
    ok: bool | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class RunPast:
    """One run and all that it did."""

    record: RunRecord
    asked: Asked
    parts: tuple[PartPast, ...]
    changes: tuple[ChangePast, ...]


@dataclass(frozen=True, slots=True)
class Touched:
    """A change of one host, and the run that made it."""

    run: str
    change: ChangePast


def read(
    rows: Rows, record: Callable[[Any], RunRecord], run: str, has: Mapping[str, bool]
) -> RunPast:
    """The run of that id. Raises LabError where there is none."""
    seconds = SECONDS if has["run_detail"] else "NULL"
    found = rows(RUNS.format(seconds=seconds) + " WHERE id=?", (run,))
    if not found:
        raise LabError(f"Unable to show the run {run}: the journal has none.", hint="lab history")
    asked = Asked()
    if has["run_detail"]:
        for row in rows("SELECT command,parameters,plan FROM run_detail WHERE run=?", (run,)):
            asked = Asked(row[0], json.loads(row[1]), row[2])
    sql = "SELECT report,spec,ended FROM part WHERE run=? ORDER BY rowid"
    parts = tuple(PartPast(_report(json.loads(r[0])), r[1], r[2]) for r in rows(sql, (run,)))
    sql = _changes(detailed=has["change_detail"]) + " WHERE run=? ORDER BY id"
    changes = tuple(_change(row[1:]) for row in rows(sql, (run,)))
    return RunPast(record(found[0]), asked, parts, tuple(_filled(c, parts) for c in changes))


def touched(rows: Rows, host: str, limit: int, *, detailed: bool) -> list[Touched]:
    """The changes of a host, the newest first."""
    sql = _changes(detailed=detailed) + " WHERE host=? ORDER BY id DESC LIMIT ?"
    return [Touched(row[0], _change(row[1:])) for row in rows(sql, (host, limit))]


def _changes(*, detailed: bool) -> str:
    more = "detail,change_detail.seconds" if detailed else "NULL,NULL"
    joined = " LEFT JOIN change_detail ON change_detail.change=change.id" if detailed else ""
    return f"SELECT run,host,layer,part,action,what,started,ended,ok,{more} FROM change{joined}"  # noqa: S608


def _change(row: tuple[Any, ...]) -> ChangePast:
    host, layer, part, action, what, started, ended, ok, detail, seconds = row
    change = Change(Action(action), what)
    if detail is not None:
        whole = {"changes": [json.loads(detail)], "blockers": [], "predicted": False, "notes": []}
        change = plan_from_json(whole).changes[0]
    if seconds is None and ended is not None:
        seconds = max(0.0, ended - started)  # an older Strata measured by the clock alone
    done = None if ok is None else bool(ok)
    return ChangePast(host, layer, part, change, started, ended, done, seconds)


def _filled(past: ChangePast, parts: tuple[PartPast, ...]) -> ChangePast:
    """With the fields that its part's plan tells, where an older Strata kept none beside it."""
    if past.change.fields:
        return past
    key = (past.host, past.layer, past.part)
    for part in parts:
        report = part.report
        if (report.host, report.layer, report.part) == key:
            return replace(past, change=report.plan.change(past.change.what) or past.change)
    return past


def _report(body: Mapping[str, Any]) -> PartReport:
    failure = body.get("failure")
    return PartReport(
        host=body["host"],
        layer=body["layer"],
        part=body["part"],
        driver=body.get("driver", ""),
        outcome=Outcome(body["outcome"]),
        plan=plan_from_json(body["plan"]) if body.get("plan") else Plan(),
        applied=tuple(body.get("applied", ())),
        failure=Failure(**{**failure, "lines": tuple(failure["lines"])}) if failure else None,
        seconds=body.get("seconds", 0.0),
    )
