"""What the words of following git do: check a push, deal with it, show it, approve it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO

import yaml

from lab.api import Approval
from lab.cli import names
from lab.cli.approval import Consent, decide
from lab.cli.options import Settings
from lab.cli.progress import write_json
from lab.cli.signals import stoppable
from lab.cli.terminal import Screen
from lab.cli.text.look import Look, line, prose
from lab.cli.text.plans import plan_lines
from lab.cli.text.pushes import Pushes, request_lines
from lab.cli.verbs import as_report
from lab.errors import ConfigError, LabError, Problem
from lab.gitops.follower import Follower
from lab.gitops.git import ZERO
from lab.gitops.serve import Service
from lab.gitops.steps import Step, Tell
from lab.gitops.store import Request, State
from lab.gitops.trials import Trials
from lab.gitops.worker import follow, spawn
from lab.journal import who
from lab.model.declared import NAME
from lab.model.outcome import ExitCode
from layers import LAYERS

PUSH_WIDTH = 72
"""git puts "remote: " before every line, and eighty columns are to be enough."""

TITLES = {layer.name: layer.title for layer in LAYERS}
_CODES = {
    State.FAILED: ExitCode.FAILED,
    State.REFUSED: ExitCode.CONFIG,
    State.WAITING: ExitCode.PENDING,
    State.PLANNED: ExitCode.PENDING,
    State.RUNNING: ExitCode.INTERRUPTED,
}
_PUSHERS = ("GITEA_PUSHER_NAME", "FORGEJO_PUSHER_NAME", "GL_USERNAME")


def lab_name(settings: Settings, name: str | None) -> str:
    """The lab's name: as given, or as this folder's ``lab.yaml`` says; the rest may be wrong."""
    if name is None:
        root = names.root_of(settings.root)
        try:
            said = yaml.safe_load((root / "lab.yaml").read_bytes()) if root else None
        except (OSError, yaml.YAMLError, ValueError):
            said = None
        name = str(said.get("name", "")) if isinstance(said, dict) else ""
    if not NAME.match(name):
        what = "which lab? This is not the folder of one, and --name NAME was not given"
        raise ConfigError([Problem("", what)])
    return name


def hook(settings: Settings, which: str, name: str | None) -> int:
    """``lab gitops hook``: what git tells on stdin, line by line: old, new, name of the ref."""
    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"):
        os.environ.pop(variable, None)
    follower = Follower(lab_name(settings, name))
    ref = f"refs/heads/{follower.settings.branch}"
    told = (text.split() for text in sys.stdin)
    updates = [(old, new) for old, new, other in told if other == ref]
    act = _before if which == "pre-receive" else _after
    return max((act(settings, follower, old, new) for old, new in updates), default=0)


def _before(settings: Settings, follower: Follower, old: str, new: str) -> int:  # noqa: ARG001
    if ZERO.match(new):
        return ExitCode.OK  # the branch goes: told afterwards, nothing happens
    screen, tell = _teller(settings, follower)
    good = follower.examine(new, tell)
    if not good:
        screen.say(line(("The push was refused; the branch is as it was.", "bold")))
    return ExitCode.OK if good else ExitCode.CONFIG


def _after(settings: Settings, follower: Follower, old: str, new: str) -> int:
    screen, _ = _teller(settings, follower)
    branch = follower.settings.branch
    if ZERO.match(new):
        screen.say(line(f"The branch {branch} is gone. Nothing was changed on any host; the last"))
        screen.say(line("commit stays in force until the branch is pushed again."))
        return ExitCode.OK
    before = None if ZERO.match(old) else old
    holder = follower.holder()
    if holder is not None:
        screen.say(
            *prose(f"{holder}. This commit is next.", Look(PUSH_WIDTH, screen.look.signs), 0)
        )
    by = next((os.environ[v] for v in _PUSHERS if os.environ.get(v)), who())
    number = follower.receive(new, before, by)
    process = spawn(follower)
    for text in follow(follower, number, process):
        screen.err.file.write(text + "\n")
        screen.err.file.flush()
    return ExitCode.OK


def work(settings: Settings, name: str | None) -> int:
    """``lab gitops work``: in the background, into the log of the request."""
    follower = Follower(lab_name(settings, name))
    with follower.turn():
        request = follower.next()
        if request is None:
            return ExitCode.OK
        with follower.log(request.id).open("a", encoding="utf-8", buffering=1) as log:
            _, tell = _teller(settings, follower, log)
            Trials(follower, tell).end_due()
            return _deal(follower, request, tell)


def run(settings: Settings, name: str | None) -> int:
    """``lab gitops run``: the same, before the eyes of whoever asks for it."""
    follower = Follower(lab_name(settings, name))
    screen, tell = on_screen(settings)
    if follower.settings.url is not None:
        try:
            follower.fetch()
        except LabError as error:
            screen.say(line((f"! {error.message} The last good clone serves.", "yellow")))
    number = follower.again(who())
    if number is None:
        screen.say(line(f"There is no commit on {follower.settings.branch} yet."))
        return ExitCode.OK
    with follower.turn(waits_on(screen)):
        Trials(follower, tell).end_due()
        request = follower.next()
        return _deal(follower, request, tell) if request is not None else ExitCode.OK


def serve(settings: Settings, name: str | None) -> int:
    """``lab gitops serve``: until it is stopped."""
    follower = Follower(lab_name(settings, name))
    screen, tell = on_screen(settings)
    service = Service(follower, tell, lambda text: screen.say(line(text)))
    with stoppable(service.stop, lambda text: screen.say(line((text, "yellow")))):
        service.run()
    return ExitCode.OK


def status(settings: Settings, name: str | None, limit: int) -> int:
    """``lab gitops status``."""
    follower = Follower(lab_name(settings, name))
    screen = Screen(settings)
    requests = follower.store.requests(limit)
    if settings.json:
        write_json(screen, _document(follower, requests), indent=1)
        return ExitCode.OK
    followed = follower.settings.url or follower.settings.repository
    kept = follower.settings
    screen.show([line(f"{followed}, branch {kept.branch}, mode {kept.mode}"), line()])
    screen.show(request_lines(requests, screen.look))
    hosts = _hosts(follower)
    if hosts:
        screen.show([line()])
    width = max((len(h) for h in hosts), default=0)
    for host, known in hosts.items():
        behind = ("  behind", "yellow") if known["behind"] else ""
        screen.show([line(f"{host:<{width}}  {known['commit'] or '-'}", behind)])
    return ExitCode.OK


def approve(
    settings: Settings,
    name: str | None,
    number: int | None,
    answers: tuple[bool, bool, frozenset[str]],
) -> int:
    """``lab approve``."""
    follower = Follower(lab_name(settings, name))
    screen, tell = on_screen(settings)
    if number is None:
        waiting = [r for r in follower.store.requests(1) if r.state is State.WAITING]
        screen.show(request_lines(waiting, screen.look) if waiting else [line("Nothing waits.")])
        return ExitCode.PENDING if waiting else ExitCode.OK
    _, saved = follower.waiting(number)
    report = as_report(saved)
    screen.show(plan_lines(report, screen.look, TITLES))
    yes, no_input, confirmed = answers
    consent = Consent(yes, allow_destroy=True, names=confirmed,
                      can_ask=screen.can_ask and not no_input)  # fmt: skip
    decision = decide(report, consent, lambda text: ask(screen, text), follower.name)
    if not decision.go:
        screen.say(line(("Nothing was changed.", "bold")))
        return ExitCode.REFUSED
    approval = Approval(decision.allow_destroy, decision.names)
    with follower.turn(waits_on(screen)), _stoppable(follower, screen):
        return _CODES.get(follower.approve(number, approval, tell), ExitCode.OK)


def waits_on(screen: Screen) -> Callable[[str], None]:
    """Says who has the turn, while this process waits for it."""
    return lambda text: screen.say(line((f"Waits: {text}.", "yellow")))


def ask(screen: Screen, question: str) -> str:
    """Put a question on stderr and read a line; ``""`` at the end of input."""
    screen.err.print(line((question, "bold")), end="", soft_wrap=True)
    return sys.stdin.readline().rstrip("\n")


def _deal(follower: Follower, request: Request, tell: Tell) -> int:
    with _stoppable(follower, None):
        state = follower.deal(request, tell)
    return _CODES.get(state, ExitCode.OK)


@contextmanager
def _stoppable(follower: Follower, screen: Screen | None) -> Iterator[None]:
    def say(text: str) -> None:
        if screen is not None:
            screen.say(line((text, "yellow")))

    with stoppable(follower.cancel, say):
        yield


def on_screen(settings: Settings) -> tuple[Screen, Tell]:
    """This call's own terminal."""
    screen = Screen(settings)
    return screen, _told(screen, replace(screen.look, wraps=True))


def _teller(
    settings: Settings, follower: Follower, log: IO[str] | None = None
) -> tuple[Screen, Tell]:
    """What a pusher sees: narrow, and without colour codes unless they are wanted."""
    color = "always" if follower.settings.colored else "never"
    stream = log or sys.stderr
    screen = Screen(replace(settings, color=color), stream, stream)
    return screen, _told(screen, Look(PUSH_WIDTH, screen.look.signs))


def _told(screen: Screen, look: Look) -> Callable[[Step], None]:
    pushes = Pushes(look, TITLES)

    def tell(step: Step) -> None:
        screen.say(*pushes.lines(step))

    return tell


def _document(follower: Follower, requests: list[Request]) -> dict[str, object]:
    return {
        "schema": "lab.gitops/1",
        "branch": follower.settings.branch,
        "mode": follower.settings.mode.value,
        "requests": [
            {
                "run": r.id,
                "commit": r.commit,
                "by": r.by,
                "state": r.state.value,
                "said": r.said,
                "hosts": list(r.hosts),
            }
            for r in requests
        ],
        "hosts": _hosts(follower),
    }


def _hosts(follower: Follower) -> dict[str, dict[str, object]]:
    """What each host was last brought to, by a push or otherwise; ``behind``: it is owed more."""
    settled, applied = follower.store.settled(), follower.applied()
    return {
        host: {
            "commit": (applied[host].commit or None) if host in applied else None,
            "run": applied[host].run if host in applied else None,
            "behind": host in settled and not settled[host].digest,
        }
        for host in dict.fromkeys([*settled, *applied])
    }
