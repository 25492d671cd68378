"""``lab show RUN | diff | explain host=NAME PATH``: what the journal knows of the past."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lab.cli.options import Settings
from lab.cli.progress import write_json
from lab.cli.session import Session, opened
from lab.cli.text.pastruns import diff_lines, run_lines
from lab.cli.text.tables import result_of
from lab.cli.text.whys import plain, why_lines
from lab.clients.checkout import Commit
from lab.events import to_json
from lab.journal import ChangePast, RunPast
from lab.model.outcome import ExitCode
from lab.model.plan import to_json as plan_to_json

if TYPE_CHECKING:
    from lab.api.past import RunDiff
    from lab.api.why import Why

_RUN = re.compile(r"^(last(~\d+)?|\d{8}T\d{0,6}(-[0-9a-f]*)?|[0-9a-f]{2,6})$")


def run_in(session: Session, word: str) -> str | None:
    """The run that a word means, where it means none of the hosts: a host's own name wins."""
    kind, equals, name = word.partition("=")
    if equals:
        return name if kind == "run" else None
    return word if _RUN.match(word) and word not in session.lab.inventory.hosts else None


def show_run(session: Session, word: str) -> int:
    """``lab show RUN``."""
    run = session.lab.run(word)
    if session.screen.settings.json:
        body = {"schema": "lab.run/1", "lab": session.lab.name, **document(run)}
        write_json(session.screen, body, indent=2)
    else:
        session.screen.show(run_lines(run, session.screen.look, session.titles))
    return ExitCode.OK


def diff(settings: Settings, first: str, second: str | None) -> int:
    """``lab diff RUN [RUN]``."""
    with opened(settings) as session:
        found = session.lab.compare(first, second)
        if settings.json:
            write_json(session.screen, _diff(session.lab.name, found), indent=2)
        else:
            session.screen.show(diff_lines(found, session.screen.look, session.titles))
    return ExitCode.OK if found.same else ExitCode.PENDING


def explain_value(settings: Settings, host: str, path: str) -> int:
    """``lab explain host=NAME PATH``."""
    with opened(settings) as session:
        found = session.lab.explain_value(host, path)
        if settings.json:
            write_json(session.screen, _why(session.lab.name, found), indent=2)
        else:
            session.screen.show(why_lines(found, session.screen.look, session.titles))
    return ExitCode.OK


def _why(lab: str, found: Why) -> dict[str, Any]:
    """``lab.explain/1``."""
    return {
        "schema": "lab.explain/1",
        "lab": lab,
        "host": found.host,
        "path": found.path,
        "value": plain(found.value),
        "said": [
            {
                "where": str(s.candidate.place),
                "source": s.candidate.source,
                "role": s.role,
                "value": plain(s.candidate.value),
                "commit": _commit(s.written.commit) if s.written.commit else None,
                "why": s.written.why,
            }
            for s in found.said
        ],
        "layer": found.layer,
        "run": found.run.run if found.run else None,
        "named": found.named,
        "change": _change(found.touched.change) if found.touched else None,
    }


def document(run: RunPast) -> dict[str, Any]:
    """One run as JSON values, times in UTC; ``lab.run/1`` without its head."""
    record = run.record
    return {
        "run": record.run,
        "verb": record.verb,
        "result": result_of(record)[0],
        "exit_code": record.exit_code,
        "started": _iso(record.started),
        "ended": _iso(record.ended),
        "seconds": record.seconds,
        "who": record.who,
        "commit": record.commit,
        "plan": run.asked.plan,
        "command": run.asked.command,
        "parameters": dict(run.asked.parameters),
        "hosts": list(record.hosts),
        "parts": [{**to_json(p.report), "ended": _iso(p.ended)} for p in run.parts],
        "changes": [_change(c) for c in run.changes],
    }


def _change(past: ChangePast) -> dict[str, Any]:
    return {
        "host": past.host,
        "layer": past.layer,
        "part": past.part,
        "ok": past.ok,
        "started": _iso(past.started),
        "ended": _iso(past.ended),
        "seconds": past.seconds,
        "change": plan_to_json(past.change),
    }


def _diff(lab: str, found: RunDiff) -> dict[str, Any]:
    """``lab.diff/1``; of each pair the first run's value stands first."""
    return {
        "schema": "lab.diff/1",
        "lab": lab,
        "same": found.same,
        "runs": [_head(run) for run in found.runs],
        "hosts": [list(names) for names in found.hosts],
        "steps": [
            {
                "host": s.host,
                "layer": s.layer,
                "part": s.part,
                "outcomes": list(s.outcomes),
                "seconds": list(s.seconds),
            }
            for s in found.steps
        ],
        "changes": [
            [{"host": h, "layer": layer, "change": text} for h, layer, text in side]
            for side in found.changes
        ],
        "parameters": {name: list(pair) for name, pair in found.parameters.items()},
        "commits": _commits(found.commits),
        "gone": _commits(found.gone),
    }


def _head(run: RunPast) -> dict[str, Any]:
    """A run without what it did."""
    return {k: v for k, v in document(run).items() if k not in {"parts", "changes"}}


def _commits(commits: tuple[Commit, ...] | None) -> list[dict[str, Any]] | None:
    if commits is None:
        return None
    return [_commit(c) for c in commits]


def _commit(commit: Commit) -> dict[str, Any]:
    at = _iso(commit.at)
    return {"id": commit.id, "author": commit.author, "at": at, "subject": commit.subject}


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
