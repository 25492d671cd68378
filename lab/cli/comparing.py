"""``lab plan --against COMMIT``: what a branch would change, for a pull request."""

from __future__ import annotations

from dataclasses import replace

from lab.cli.options import Scope, Settings
from lab.cli.session import Session, opened
from lab.cli.text.markdown import plan_markdown
from lab.cli.verbs import planned, write_report
from lab.gitops.against import Comparison, compare
from lab.model.outcome import ExitCode, RunReport


def plan(settings: Settings, scope: Scope, against: str, jobs: int | None, *, adopt: bool) -> int:
    """Plan the hosts that the checkout declares differently, and print Markdown."""
    with opened(settings) as session:
        found = compare(session.lab, against)
        chosen = {h.name for h in session.lab.select(*scope.selectors)}
        hosts = tuple(h for h in found.touched.hosts if h in chosen)
        if not hosts:
            touched = replace(found.touched, changed=(), new=())
            return _told(session, replace(found, touched=touched), None)
        words = tuple(f"host={h}" for h in hosts)
        report = planned(session, replace(scope, selectors=words), jobs, adopt=adopt)
        return _told(session, found, report)


def _told(session: Session, found: Comparison, report: RunReport | None) -> int:
    screen = session.screen
    if screen.settings.json:
        write_report(session, report or RunReport("plan", "", (), {}))
    else:
        screen.out.file.write(plan_markdown(found, report, screen.look, session.titles))
        screen.out.file.flush()
    return ExitCode.OK if report is None else report.exit_code
