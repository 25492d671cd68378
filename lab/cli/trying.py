"""``lab try``: a branch on one host, for a while."""

from __future__ import annotations

import time as clock
from datetime import UTC, datetime

import click

from lab.api import Approval
from lab.cli.approval import Consent, decide
from lab.cli.following import TITLES, ask, lab_name, on_screen, waits_on
from lab.cli.options import Settings
from lab.cli.terminal import Screen
from lab.cli.text.look import line
from lab.cli.text.plans import plan_lines
from lab.gitops.follower import Follower
from lab.gitops.store import Trial
from lab.gitops.trials import LONGEST, Trials
from lab.gitops.worker import spawn
from lab.model.outcome import ExitCode
from lab.model.units import parse_duration


def trial(
    settings: Settings,
    name: str | None,
    words: tuple[str, ...],
    answers: tuple[bool, bool, frozenset[str]],
    *,
    time: str,
    keep: bool,
    revert: bool,
) -> int:
    """``lab try``."""
    branch, host = _meant(words, needs_branch=not (keep or revert))
    if keep and revert:
        raise click.UsageError("--keep and --revert contradict each other.")
    seconds = _seconds(time)
    follower = Follower(lab_name(settings, name))
    screen, tell = on_screen(settings)
    trials = Trials(follower, tell)
    if keep:
        with follower.turn(waits_on(screen)):
            kept = trials.keep(host)
        screen.say(line(f"{host} stays as {kept.branch} declares it, until the next push to"))
        screen.say(line(f"{follower.settings.branch} declares something else for it."))
        return ExitCode.OK
    if revert:
        with follower.turn(waits_on(screen)):
            return ExitCode.OK if trials.revert(host) else ExitCode.FAILED
    return _begin(follower, trials, screen, branch, host, answers, seconds)


def _begin(
    follower: Follower,
    trials: Trials,
    screen: Screen,
    branch: str,
    host: str,
    answers: tuple[bool, bool, frozenset[str]],
    seconds: int,
) -> int:
    commit = trials.commit_of(branch)
    with follower.turn(waits_on(screen)):
        report, saved = trials.plan(commit, host)
    screen.show(plan_lines(report, screen.look, TITLES))
    if not report.changes:
        return report.exit_code
    yes, no_input, confirmed = answers
    can_ask = screen.can_ask and not no_input
    consent = Consent(yes, allow_destroy=True, names=confirmed, can_ask=can_ask)
    decision = decide(report, consent, lambda text: ask(screen, text), follower.name)
    if not decision.go:
        screen.say(line(("Nothing was changed.", "bold")))
        return ExitCode.REFUSED
    until = clock.time() + seconds
    with follower.turn(waits_on(screen)):
        approval = Approval(decision.allow_destroy, decision.names)
        begun = trials.begin(Trial(host, branch, commit, until), saved, approval)
    spawn(follower, "expire")
    at = datetime.fromtimestamp(until, UTC).astimezone().strftime("%H:%M:%S")
    screen.say(line(f"{host} goes back at {at}, unless it is kept."))
    screen.say(line(("Try: ", "cyan"), f"lab try --keep host={host}"))
    return begun.exit_code


def expire(settings: Settings, name: str | None) -> int:
    """``lab gitops expire``: in the background, until no trial is left."""
    follower = Follower(lab_name(settings, name))
    _, tell = on_screen(settings)
    trials = Trials(follower, tell)
    while running := follower.store.trials():
        if not trials.due():
            left = min(t.until for t in running.values()) - clock.time()
            clock.sleep(min(max(left, 0.05), 5.0))  # short: it may have been kept meanwhile
            continue
        with follower.turn():
            trials.end_due()
    return ExitCode.OK


def _meant(words: tuple[str, ...], *, needs_branch: bool) -> tuple[str, str]:
    hosts = [w.removeprefix("host=") for w in words if w.startswith("host=")]
    branches = [w for w in words if not w.startswith("host=")]
    if len(hosts) != 1 or not hosts[0] or "," in hosts[0]:
        raise click.UsageError("say on which host: host=NAME, exactly one.")
    if len(branches) != int(needs_branch):
        said = "say which branch, exactly one." if needs_branch else "no branch is needed for that."
        raise click.UsageError(said)
    return (branches[0] if branches else ""), hosts[0]


def _seconds(text: str) -> int:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"--for: {error}") from error
    if not 0 < seconds <= LONGEST:
        raise click.UsageError("--for: from 1s to 7d.")
    return seconds
