"""What the four verbs do: plan, show, ask, act, tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import events
from lab.api import Approval, SavedPlan
from lab.cli.approval import Consent, confirm, decide
from lab.cli.options import Scope, Settings
from lab.cli.progress import write_json
from lab.cli.session import Session, opened
from lab.cli.text.look import line
from lab.cli.text.plans import plan_lines
from lab.cli.text.reports import addresses, first_url, report_lines
from lab.errors import LabError, PlanError
from lab.model.outcome import ExitCode, Outcome, PartReport, RunReport


@dataclass(frozen=True)
class Answers:
    """What the flags answered beforehand."""

    yes: bool = False
    no_input: bool = False
    allow_destroy: bool = False
    names: frozenset[str] = frozenset()
    wait: bool = False

    def consent(self, session: Session) -> Consent:
        """The same, with whether somebody can be asked."""
        screen = session.screen
        can_ask = screen.can_ask and not self.no_input and not screen.settings.json
        return Consent(self.yes, self.allow_destroy, self.names, can_ask)


def plan(
    settings: Settings, scope: Scope, jobs: int | None, out: str | None, *, adopt: bool
) -> int:
    """``lab plan``."""
    with opened(settings) as session:
        report = planned(session, scope, jobs, adopt=adopt)
        if out is not None:
            saved = session.lab.saved(
                report,
                *scope.selectors,
                layer=scope.layer,
                through=scope.through,
                adopt=adopt,
            )
            _write(saved, Path(out))
        _show_plan(session, report)
        if report.changes and not settings.json:
            again = f" --plan {out}" if out else f"{scope.words}{' --adopt' * adopt}"
            session.hint(f"lab converge{again}")
        return report.exit_code


def verify(settings: Settings, scope: Scope, jobs: int | None) -> int:
    """``lab verify``."""
    with opened(settings) as session:
        lab = session.lab
        report = session.watch(
            lambda listen: lab.verify(
                *scope.selectors,
                layer=scope.layer,
                through=scope.through,
                on_event=listen,
                jobs=jobs,
            )
        )
        _show_plan(session, report)
        if report.changes and not settings.json:
            session.hint(f"lab converge{scope.words}")
        return report.exit_code


def converge(
    settings: Settings, scope: Scope, answers: Answers, *, adopt: bool, jobs: int | None
) -> int:
    """``lab converge``: with ``--yes`` straight on, else plan, show and ask first."""
    with opened(settings) as session:
        lab, consent = session.lab, answers.consent(session)
        approval = Approval(answers.allow_destroy, answers.names)
        if not answers.yes:
            _refuse_unasked_json(session)
            report = planned(session, scope, jobs, adopt=adopt)
            _show_plan(session, report)
            if not report.changes:
                return report.exit_code
            decision = decide(report, consent, session.ask, lab.name)
            if not decision.go:
                return _not_approved(session)
            saved = lab.saved(report, *scope.selectors, layer=scope.layer, through=scope.through)
            approval = Approval(decision.allow_destroy, decision.names, saved.plans)
        report = session.watch(
            lambda listen: lab.converge(
                *scope.selectors,
                layer=scope.layer,
                through=scope.through,
                approval=approval,
                adopt=adopt,
                wait=answers.wait,
                on_event=listen,
                jobs=jobs,
            )
        )
        return _told(session, report, f"lab converge{scope.words}")


def apply(settings: Settings, path: str, answers: Answers, jobs: int | None) -> int:
    """``lab converge --plan FILE``."""
    with opened(settings) as session:
        lab, consent = session.lab, answers.consent(session)
        saved = SavedPlan.read(Path(path))
        approval = Approval(answers.allow_destroy, answers.names)
        if not answers.yes:
            _refuse_unasked_json(session)
            report = as_report(saved)
            _show_plan(session, report)
            decision = decide(report, consent, session.ask, lab.name)
            if not decision.go:
                return _not_approved(session)
            approval = Approval(decision.allow_destroy, decision.names)
        report = session.watch(
            lambda listen: lab.apply(
                saved, approval=approval, wait=answers.wait, on_event=listen, jobs=jobs
            )
        )
        return _told(session, report, f"lab converge --plan {path}")


def destroy(
    settings: Settings,
    selectors: tuple[str, ...],
    answers: Answers,
    *,
    with_data: bool,
    forget: bool,
) -> int:
    """``lab destroy``: the typed names are the approval; ``--yes`` alone never is."""
    with opened(settings) as session:
        code = _destroy(session, settings, selectors, answers, with_data=with_data)
        if forget and code is ExitCode.OK:
            session.lab.forget()
        return code


def _destroy(
    session: Session,
    settings: Settings,
    selectors: tuple[str, ...],
    answers: Answers,
    *,
    with_data: bool,
) -> int:
    lab, consent = session.lab, answers.consent(session)
    _refuse_unasked_json(session, unless=answers.yes)
    planned = session.watch(lambda _: lab.plan_destroy(*selectors, with_data=with_data))
    doomed = list(dict.fromkeys(p.host for p in planned.parts if p.host and p.plan.changes))
    if not settings.json:
        _show_plan(session, planned)
    if not planned.changes:
        if settings.json:
            write_report(session, planned)
        if planned.exit_code is ExitCode.OK:  # what is gone, or was never ours, is forgotten
            lab.destroy(*selectors, approval=Approval(only={}), with_data=with_data)
        return planned.exit_code
    decision = confirm(doomed, consent, session.ask, lab.name)
    if doomed and not decision.go:
        return _not_approved(session)
    approval = Approval(allow_destroy=True, confirmed=decision.names)
    report = session.watch(
        lambda listen: lab.destroy(
            *selectors, approval=approval, with_data=with_data, on_event=listen
        )
    )
    words = "".join(f" {s}" for s in selectors) or " --all"
    return _told(session, report, f"lab destroy{words}{' --with-data' * with_data}")


def write_report(session: Session, report: RunReport) -> None:
    """The last line of ``--json``: everything that came of it (``lab.report/1``)."""
    body: dict[str, Any] = events.to_json(report)
    document = {"schema": "lab.report/1", "exit_code": int(report.exit_code), **body}
    write_json(session.screen, document)


def planned(session: Session, scope: Scope, jobs: int | None, *, adopt: bool) -> RunReport:
    """The plan of a scope, with progress on the screen."""
    lab = session.lab
    return session.watch(
        lambda listen: lab.plan(
            *scope.selectors,
            layer=scope.layer,
            through=scope.through,
            adopt=adopt,
            on_event=listen,
            jobs=jobs,
        )
    )


def _show_plan(session: Session, report: RunReport) -> None:
    if session.screen.settings.json:
        write_report(session, report)
        return
    look = session.screen.look
    reached = [] if report.exit_code is not ExitCode.OK else [line(), *addresses(report, look)]
    session.screen.show([*plan_lines(report, look, session.titles), *reached[:-1]])


def _told(session: Session, report: RunReport, same: str) -> int:
    """Show what came of it, and what to try next."""
    if session.screen.settings.json:
        write_report(session, report)
        return report.exit_code
    session.screen.show(report_lines(report, session.screen.look, session.titles))
    failure = next((p.failure for p in report.parts if p.failure and p.failure.hint), None)
    if report.exit_code is ExitCode.INTERRUPTED:
        session.hint(f"{same}   (the same command resumes)")
    elif report.exit_code is not ExitCode.OK:
        session.hint(failure.hint if failure else f"{same}   (run again to resume)")
    elif report.verb == "converge":
        url = first_url(report)
        session.hint(f"curl {url}" if url else "lab status")
    return report.exit_code


def as_report(saved: SavedPlan) -> RunReport:
    """A saved plan in the form that plans are shown in."""
    parts = tuple(
        PartReport(
            host, layer, part, "", Outcome.PENDING if plan.changes else Outcome.UNCHANGED, plan
        )
        for (host, layer, part), plan in saved.plans.items()
    )
    return RunReport("plan", "", parts, {})


def _refuse_unasked_json(session: Session, *, unless: bool = False) -> None:
    if session.screen.settings.json and not unless:
        raise PlanError(
            "The plan was not approved: with --json nobody is asked.",
            hint="the same command with --yes",
        )


def _not_approved(session: Session) -> int:
    session.screen.say(line(("Nothing was changed.", "bold")))
    return ExitCode.REFUSED


def _write(saved: SavedPlan, path: Path) -> None:
    try:
        saved.write(path)
    except OSError as error:
        raise LabError(
            f"Unable to write the plan {path}: {error.strerror or error}.",
            hint="lab plan --out FILE, with a FILE in a folder that you may write to",
        ) from error
