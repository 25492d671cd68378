"""What ``lab restore``, ``lab rebuild`` and ``lab drill`` do: look, show, ask, act, tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lab import events
from lab.api import Approval
from lab.cli.approval import agrees, confirm
from lab.cli.capturing import plain, split
from lab.cli.options import Settings
from lab.cli.progress import write_json
from lab.cli.session import Session, opened
from lab.cli.text.look import line
from lab.cli.text.restores import (
    drill_lines,
    intended_lines,
    restored_lines,
    step_lines,
)
from lab.cli.verbs import Answers
from lab.errors import PlanError
from lab.model.outcome import ExitCode, RunReport
from lab.recovery.rebuilding import Ask
from lab.recovery.repository import record_of
from lab.recovery.restores import Asked

if TYPE_CHECKING:
    from lab.recovery.rebuilding import Step
    from lab.recovery.restores import Intended, RestoreReport


def restore(settings: Settings, words: tuple[str, ...], answers: Answers, *, as_fresh: bool) -> int:
    """``lab restore``."""
    selectors, asked = told(words)
    with opened(settings) as session:
        lab = session.lab
        if as_fresh:
            hosts = [h.name for h in lab.select(*selectors)]
            decision = confirm(hosts, answers.consent(session), session.ask, lab.name)
            if not decision.go:
                return _nothing(session)
            report = lab.recovery.begin_anew(
                *selectors, names=asked.names, approval=Approval(confirmed=decision.names)
            )
            return _told(session, report)
        intended = lab.recovery.plan_restore(*selectors, asked=asked)
        if not intended:
            raise PlanError(
                "Unable to restore: none of these sets of data has a good capture.",
                hint="lab captures list",
            )
        approval = _asked(session, intended, answers, asked)
        if approval is None:
            return _nothing(session)
        return _told(
            session,
            session.watch(
                lambda listen: lab.recovery.restore(
                    *selectors,
                    asked=asked,
                    approval=approval,
                    on_event=events.ignore if settings.json else listen,
                )
            ),
        )


def rebuild(
    settings: Settings,
    selectors: tuple[str, ...],
    answers: Answers,
    lose: frozenset[str],
    *,
    only_plan: bool,
) -> int:
    """``lab rebuild``."""
    with opened(settings) as session:
        lab = session.lab
        steps = lab.recovery.plan_rebuild(*selectors)
        resumes = any(s.done is not None for s in steps)
        if only_plan or not settings.json:
            _show_steps(session, steps, {}, ExitCode.PENDING if only_plan else None)
        if only_plan:
            return ExitCode.PENDING
        names = answers.names
        if not resumes:
            hosts = dict.fromkeys(s.host for s in steps if s.host)
            decision = confirm(hosts, answers.consent(session), session.ask, lab.name)
            if not decision.go:
                return _nothing(session)
            names = decision.names
        report = session.watch(
            lambda listen: lab.recovery.rebuild(
                *selectors,
                ask=Ask(lose, names),
                on_event=events.ignore if settings.json else listen,
            )
        )
        _show_steps(session, report.steps, report.notes, report.run.exit_code, report.run)
        return report.run.exit_code


def drill(settings: Settings, selectors: tuple[str, ...], sandbox: str) -> int:
    """``lab drill``."""
    with opened(settings) as session:
        lab = session.lab
        report = session.watch(
            lambda listen: lab.recovery.drill(
                *selectors, sandbox=sandbox, on_event=events.ignore if settings.json else listen
            )
        )
        code = report.run.exit_code
        if settings.json:
            body = [e.document() for e in report.evidence]
            files = [str(p) for p in report.files]
            write_json(
                session.screen,
                {
                    "schema": "lab.drill/1",
                    "lab": lab.name,
                    "exit_code": int(code),
                    "drills": body,
                    "files": files,
                },
                indent=2,
            )
            return code
        session.screen.show(drill_lines(report.evidence, report.run, session.screen.look))
        if report.files:
            session.hint(f"cat {report.files[-1].with_suffix('.md')}")
    return code


def _show_steps(
    session: Session,
    steps: Sequence[Step],
    notes: Mapping[str, str],
    code: ExitCode | None,
    run: RunReport | None = None,
) -> None:
    if not session.screen.settings.json:
        session.screen.show(step_lines(steps, notes, session.screen.look, run))
        return
    failures = [p for p in run.parts if p.failure is not None] if run is not None else []
    write_json(
        session.screen,
        {
            "schema": "lab.rebuild/1",
            "lab": session.lab.name,
            "exit_code": None if code is None else int(code),
            "steps": [
                {"step": s.name, "host": s.host, "what": s.what, "seconds": s.done} for s in steps
            ],
            "notes": dict(notes),
            "failures": [
                {
                    "host": p.host,
                    "step": p.part,
                    "message": p.failure.message,
                    "hint": p.failure.hint,
                }
                for p in failures
                if p.failure is not None
            ],
        },
        indent=2,
    )


def told(words: Sequence[str]) -> tuple[tuple[str, ...], Asked]:
    """Selectors of hosts, and what was asked for besides."""
    said = dict.fromkeys(("at", "to", "path"), "")
    rest = []
    for word in words:
        key, _, value = word.partition("=")
        if key in said:
            said[key] = value
        else:
            rest.append(word)
    selectors, names = split(tuple(rest))
    return selectors, Asked(names, said["at"], said["path"], said["to"])


def _asked(
    session: Session, intended: Sequence[Intended], answers: Answers, asked: Asked
) -> Approval | None:
    """Show what would happen and have it approved; ``None``: it was not."""
    consent = answers.consent(session)
    if not session.screen.settings.json:
        session.screen.show(intended_lines(intended, session.screen.look))
    losing = dict.fromkeys(i.host for i in intended if i.replaces) if not asked.to else {}
    if losing:
        decision = confirm(losing, consent, session.ask, session.lab.name)
        return Approval(confirmed=decision.names) if decision.go else None
    if not answers.yes:
        if not consent.can_ask:
            raise PlanError(
                "The restore was not approved: there is no terminal to ask on.",
                hint="the same command with --yes",
            )
        if not agrees(session.ask("Restore this? [y/N] ")):
            return None
    return Approval(confirmed=answers.names)


def _told(session: Session, report: RestoreReport) -> int:
    code = report.run.exit_code
    if session.screen.settings.json:
        write_json(
            session.screen,
            {
                "schema": "lab.restore/1",
                "lab": session.lab.name,
                "exit_code": int(code),
                "sets": [_set(report, p.host, p.part) for p in report.run.parts],
                "seconds": round(report.run.seconds, 3),
            },
            indent=2,
        )
        return code
    session.screen.show(restored_lines(report.run, session.screen.look))
    return code


def _set(report: RestoreReport, host: str, data: str) -> dict[str, Any]:
    part = next(p for p in report.run.parts if (p.host, p.part) == (host, data))
    capture = report.captures.get((host, data))
    failure = part.failure
    return {
        "host": host,
        "data": data,
        "outcome": part.outcome.value,
        "capture": plain(record_of(capture)) if capture is not None else None,
        "seconds": round(part.seconds, 3),
        "failure": None
        if failure is None
        else {"kind": failure.kind, "message": failure.message, "hint": failure.hint},
    }


def _nothing(session: Session) -> int:
    session.screen.say(line(("Nothing was changed.", "bold")))
    return ExitCode.REFUSED
