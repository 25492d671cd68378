"""What ``lab entropy`` and ``lab adopt`` do: ask the library, show what came of it."""

from __future__ import annotations

from typing import Any

from lab import events
from lab.api import SurveyReport
from lab.cli.options import Settings
from lab.cli.progress import write_json
from lab.cli.session import opened
from lab.cli.text.entropy import entropy_lines
from lab.model.undeclared import Undeclared


def entropy(
    settings: Settings, selectors: tuple[str, ...], jobs: int | None, *, everything: bool
) -> int:
    """``lab entropy``."""
    with opened(settings) as session:
        lab = session.lab
        report = session.watch(
            lambda listen: lab.survey(
                *selectors, on_event=events.ignore if settings.json else listen, jobs=jobs
            )
        )
        if settings.json:
            write_json(session.screen, _document(lab.name, report), indent=2)
            return report.exit_code
        look = session.screen.look
        session.screen.show(entropy_lines(report, look, session.titles, everything=everything))
        if any(report.scores.values()):
            session.hint("declare it, remove it, or accept it with a reason in accepted.yaml")
    return report.exit_code


def _document(lab: str, report: SurveyReport) -> dict[str, Any]:
    """``lab.entropy/1``; a host that could not be looked at has no entropy, and a failure."""
    failures: dict[str, str] = {}
    for part in report.run.parts:
        if part.failure is not None:
            failures.setdefault(part.host, part.failure.message)
    return {
        "schema": "lab.entropy/1",
        "lab": lab,
        "exit_code": int(report.exit_code),
        "hosts": [
            {
                "host": host,
                "entropy": report.scores.get(host),
                "undeclared": [_thing(t) for t in report.found.get(host, ())],
                "failure": failures.get(host, ""),
            }
            for host in dict.fromkeys(p.host for p in report.run.parts)
        ],
        "unused": [
            {"where": e.where, "kind": e.kind.value, "name": e.name, "reason": e.reason}
            for e in report.unused
        ],
    }


def _thing(thing: Undeclared) -> dict[str, Any]:
    return {
        "kind": thing.sort.value,
        "name": thing.name,
        "detail": thing.detail,
        "size": thing.size,
        "weight": 0 if thing.accepted else thing.sort.weight,
        "accepted": thing.accepted,
    }
