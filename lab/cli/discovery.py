"""What ``lab entropy`` and ``lab adopt`` do: ask the library, show what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from lab import events
from lab.api import Adopted, Login, SurveyReport
from lab.cli.options import Settings
from lab.cli.progress import write_json
from lab.cli.session import opened
from lab.cli.text.entropy import adopted_lines, entropy_lines
from lab.model.outcome import ExitCode
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
        session.screen.show(entropy_lines(report, look, everything=everything))
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
                "exists": host not in report.absent,
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


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of ``lab adopt``."""

    persona: str | None
    provider: str | None
    host_key: str | None
    identity_file: str | None
    sudo_password: str | None
    dry_run: bool


def adopt(settings: Settings, words: tuple[str, ...], asked: Asked) -> int:
    """``lab adopt``."""
    host, address = _host_and_address(words)
    login = Login.of(
        address,
        host_key=asked.host_key,
        identity_file=asked.identity_file,
        sudo_password=asked.sudo_password,
    )
    with opened(settings) as session:
        lab = session.lab
        adopted = session.watch(
            lambda listen: lab.adopt(
                host,
                login,
                persona=asked.persona,
                provider=asked.provider,
                dry_run=asked.dry_run,
                on_event=events.ignore if settings.json else listen,
            )
        )
        code = ExitCode.OK if adopted.plan is None else adopted.plan.exit_code
        if settings.json:
            write_json(session.screen, _adopted(lab.name, adopted, code), indent=2)
            return code
        look = session.screen.look
        session.screen.show(adopted_lines(adopted, look, session.titles))
        session.hint("the same command without --dry-run" if asked.dry_run else _next(host, code))
    return code


def _next(host: str, code: ExitCode) -> str:
    if code is ExitCode.PENDING:
        return f"lab plan host={host}, then mend the persona"
    return f"git add . && git commit; lab entropy host={host}"


def _host_and_address(words: tuple[str, ...]) -> tuple[str, str]:
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key not in {"host", "address"} or not equals or not value:
            raise click.UsageError(f"{word!r} is neither host=NAME nor address=USER@ADDRESS")
        given[key] = value
    for key, example in (("host", "NAME"), ("address", "root@192.0.2.9")):
        if key not in given:
            raise click.UsageError(f"{key}={example} is missing")
    return given["host"], given["address"]


def _adopted(lab: str, adopted: Adopted, code: ExitCode) -> dict[str, Any]:
    """``lab.adopt/1``."""
    return {
        "schema": "lab.adopt/1",
        "lab": lab,
        "exit_code": int(code),
        "host": adopted.host,
        "dry_run": adopted.plan is None,
        "written": [{"path": path, "what": what} for path, what in adopted.written],
        "left": [{"what": what, "why": why} for what, why in adopted.left],
        "changes": None if adopted.plan is None else adopted.plan.changes,
        "persona": adopted.persona,
    }
