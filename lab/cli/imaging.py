"""What ``lab image …`` does: ask the library, show what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lab import events
from lab.api import Approval
from lab.api.saved import plans_of
from lab.cli.approval import decide
from lab.cli.options import Settings
from lab.cli.progress import write_json
from lab.cli.session import Session, opened
from lab.cli.text.images import listing_lines, promotion_lines, standing_lines
from lab.cli.text.look import line
from lab.cli.text.plans import plan_lines
from lab.cli.text.reports import report_lines
from lab.cli.verbs import Answers, write_report
from lab.errors import PlanError
from lab.model.outcome import ExitCode

if TYPE_CHECKING:
    from lab.api.images import HostImage, Promotion


@dataclass(frozen=True)
class Asked:
    """What ``lab image promote`` is to do. ``host``: make the template of its captured disk."""

    personas: tuple[str, ...]
    template: str | None = None
    host: str | None = None
    at: str | None = None
    undo: bool = False


def list_(settings: Settings) -> int:
    """``lab image list``."""
    with opened(settings) as session:
        found = session.lab.images.listing()
        if settings.json:
            body = [
                {
                    "name": one.template.name,
                    "bytes": one.template.size,
                    "made": one.template.made,
                    "definition": dict(one.template.definition),
                    "packages": len(one.template.baseline.packages) if one.template.baseline else 0,
                    "captured": one.template.captured,
                    "damaged": one.template.damaged,
                    "used_by": list(one.template.users),
                    "promoted_for": list(one.promoted),
                    "wanted_by": list(one.wanted),
                }
                for one in found
            ]
            _document(session, "lab.images/1", {"templates": body})
            return ExitCode.OK
        session.screen.show(listing_lines(found, session.screen.look))
        session.hint("lab image status" if found else "lab converge l1")
    return ExitCode.OK


def status(settings: Settings, selectors: Sequence[str]) -> int:
    """``lab image status``."""
    with opened(settings) as session:
        lab = session.lab
        found = lab.images.standing(lab.select(*selectors))
        behind = [one for one in found if one.behind]
        code = ExitCode.PENDING if behind else ExitCode.OK
        if settings.json:
            body = {"exit_code": int(code), "hosts": [_plain(one) for one in found]}
            _document(session, "lab.images.status/1", body)
            return code
        session.screen.show(standing_lines(found, session.screen.look))
        if behind:
            session.hint(f"lab rebuild host={behind[0].host}")
    return code


def promote(settings: Settings, asked: Asked) -> int:
    """``lab image promote``."""
    with opened(settings) as session:
        lab = session.lab
        if asked.undo:
            return _told(session, lab.images.withdraw(asked.personas))
        template, captured, personas = asked.template, "", asked.personas
        if asked.host is not None:
            host = asked.host
            (chosen,) = lab.select(f"host={host}")
            personas = personas or (chosen.persona,)
            made = session.watch(
                lambda listen: lab.recovery.template_of(
                    host,
                    personas[0],
                    at=asked.at,
                    on_event=events.ignore if settings.json else listen,
                )
            )
            if made.run.exit_code is not ExitCode.OK:
                session.screen.show(report_lines(made.run, session.screen.look, session.titles))
                return made.run.exit_code
            template, captured = made.template, made.captured
        return _told(session, lab.images.promote(personas, template, captured))


def prune(settings: Settings, answers: Answers, *, only_plan: bool) -> int:
    """``lab image prune``."""
    with opened(settings) as session:
        lab, screen = session.lab, session.screen
        if settings.json and not (answers.yes or only_plan):
            raise PlanError(
                "Nothing was pruned: with --json nobody is asked.",
                hint="the same command with --yes, or with --plan",
            )
        plan = session.watch(lab.images.plan_prune)
        if only_plan or not plan.changes:
            if settings.json:
                write_report(session, plan)
            elif plan.changes:
                screen.show(plan_lines(plan, screen.look, session.titles))
            else:
                screen.show([line("Nothing to prune: every template is used, wanted or promoted.")])
            return plan.exit_code
        if not settings.json:
            screen.show(plan_lines(plan, screen.look, session.titles))
        decision = decide(plan, answers.consent(session), session.ask, lab.name)
        if not decision.go:
            screen.say(line(("Nothing was changed.", "bold")))
            return ExitCode.REFUSED
        approval = Approval(only=plans_of(plan))
        report = session.watch(lambda listen: lab.images.prune(approval, listen))
        if settings.json:
            write_report(session, report)
        else:
            screen.show(report_lines(report, screen.look, session.titles))
        return report.exit_code


def _told(session: Session, promotions: Sequence[Promotion]) -> int:
    if session.screen.settings.json:
        _document(session, "lab.images.promote/1", {"promoted": [asdict(p) for p in promotions]})
        return ExitCode.OK
    session.screen.show(promotion_lines(promotions, session.screen.look))
    session.hint("git add promoted.yaml && git commit, so that a push carries it")
    return ExitCode.OK


def _plain(one: HostImage) -> dict[str, Any]:
    return {
        "host": one.host,
        "persona": one.persona,
        "made_from": one.lies_on,
        "wanted": one.wanted,
        "promoted": one.promoted,
        "definition_comes_to": one.own,
        "built": one.built,
        "captured": one.captured,
        "behind": one.behind,
        "fields": {f.field: {"before": f.before, "after": f.after} for f in one.fields},
        "packages": {p.name: {"before": p.before, "after": p.after} for p in one.packages},
    }


def _document(session: Session, schema: str, body: Mapping[str, Any]) -> None:
    write_json(session.screen, {"schema": schema, "lab": session.lab.name, **body}, indent=2)
