"""``lab wait``: until something has become of a commit."""

from __future__ import annotations

import re
import time as clock
from pathlib import Path

import click

from lab.cli.following import lab_name
from lab.cli.options import Settings
from lab.cli.progress import write_json
from lab.cli.terminal import Screen
from lab.cli.text.look import line, prose
from lab.errors import ConfigError, LabError, Problem
from lab.gitops.follower import Follower
from lab.gitops.git import Repository
from lab.gitops.store import Request, State
from lab.model.outcome import ExitCode
from lab.model.units import parse_duration

_BEGINNING = re.compile(r"^[0-9a-f]{4,64}$")
_LOOK = 0.2
_PATIENCE = 15.0
"""Seconds for which nobody may work on a commit that is not done."""
_CODES = {
    State.APPLIED: ExitCode.OK,
    State.UNCHANGED: ExitCode.OK,
    State.PLANNED: ExitCode.PENDING,
    State.WAITING: ExitCode.PENDING,
    State.FAILED: ExitCode.FAILED,
    State.REFUSED: ExitCode.CONFIG,
    State.SUPERSEDED: ExitCode.REFUSED,
}


def wait(settings: Settings, name: str | None, commit: str, time: str) -> int:
    """``lab wait``."""
    try:
        seconds = parse_duration(time)
    except ValueError as error:
        raise click.UsageError(f"--for: {error}") from error
    follower = Follower(lab_name(settings, name))
    beginning = _meant(commit)
    request, orphaned = _awaited(follower, beginning, clock.monotonic() + seconds)
    if orphaned:
        raise LabError(
            f"Unable to wait for {beginning[:12]}: it is not done, and nobody works on it.",
            hint=f"lab gitops run --name {follower.name}   (resumes it)",
        )
    screen = Screen(settings)
    if settings.json:
        write_json(screen, _document(beginning, request), indent=1)
    elif request is not None:
        said = f": {request.said.rstrip('.')}" if request.said else ""
        screen.show(prose(f"{request.commit[:12]} {request.state}{said}.", screen.look, 0))
    if request is None:
        if not settings.json:
            text = f"{beginning[:12]} did not arrive within {time}. Was it pushed to"
            screen.say(*prose(f"{text} {follower.settings.branch}?", screen.look, 0))
        return ExitCode.LOCKED
    hint = _hint(request)
    if hint and not settings.json:
        screen.say(line(("Try: ", "cyan"), hint))
    return _CODES.get(request.state, ExitCode.LOCKED)


def _meant(word: str) -> str:
    """A full commit, or how it begins."""
    if _BEGINNING.match(word):
        return word
    try:
        commit = Repository.around(Path.cwd()).commit(word)
    except LabError:
        commit = None
    if commit is None:
        what = f"{word!r} is no commit of this folder's repository; write HEAD, or how one begins"
        raise ConfigError([Problem("", what)])
    return commit


def _awaited(follower: Follower, beginning: str, ends: float) -> tuple[Request | None, bool]:
    """How it stands in the end, or when the time is over; whether it was left behind."""
    lonely = clock.monotonic()
    while True:
        holder = follower.holder()
        found = follower.store.find(beginning)
        if len(found) > 1:
            what = f"{beginning!r} begins {len(found)} commits; write more of it"
            raise ConfigError([Problem("", what)])
        request = found[0] if found else None
        now = clock.monotonic()
        if request is not None and not request.state.is_open:
            return request, False
        if holder is not None or request is None:
            lonely = now
        elif now - lonely > _PATIENCE + (follower.settings.every if follower.settings.url else 0):
            return request, True
        if now >= ends:
            return request, False
        clock.sleep(min(_LOOK, max(ends - now, 0.01)))


def _hint(request: Request) -> str:
    match request.state:
        case State.WAITING:
            return f"lab approve {request.id}"
        case State.SUPERSEDED if request.said.startswith("superseded by "):
            return f"lab wait {request.said.removeprefix('superseded by ')}"
        case State.FAILED:
            return "lab gitops run   (resumes; so does the next push)"
        case State.REFUSED:
            return "lab validate, in a checkout of this commit"
        case State.QUEUED | State.RUNNING:
            return f"lab wait {request.commit[:12]}, again"
    return ""


def _document(beginning: str, request: Request | None) -> dict[str, object]:
    if request is None:
        return {"schema": "lab.wait/1", "commit": beginning, "state": "unknown"}
    return {
        "schema": "lab.wait/1",
        "commit": request.commit,
        "state": request.state.value,
        "run": request.id or None,
        "by": request.by,
        "said": request.said,
        "hosts": list(request.hosts),
    }
