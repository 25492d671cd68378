"""A process of its own deals with a push: the pusher may leave, the run goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from lab.errors import LabError
from lab.gitops.follower import Follower
from lab.gitops.store import State

_LOOK = 0.1


def spawn(follower: Follower, verb: str = "work") -> subprocess.Popen[bytes]:
    """Start ``lab gitops VERB`` so that it outlives this process, whatever ends it."""
    argv = [sys.executable, "-P", "-m", "lab.cli", "gitops", verb, "--name", follower.name]
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    follower.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with (follower.folder / "worker.log").open("ab") as log:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                cwd=follower.folder,
                start_new_session=True,
            )
    except OSError as error:
        raise LabError(
            f"Unable to start the worker of the lab {follower.name}: {error}.",
            hint="lab gitops run",
        ) from error


def follow(follower: Follower, number: int, process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The lines about one request as they are written, until it has ended.

    Raises LabError where the worker ended before it did.
    """
    with _opened(follower.log(number)) as log:
        rest = ""
        while True:
            over = process.poll() is not None
            request = follower.store.request(number)
            closed = request is None or not request.state.is_open
            rest += log.read()  # after the look: what ended is written whole
            *lines, rest = rest.split("\n")
            yield from lines
            if closed:
                if request is not None and request.state is State.SUPERSEDED:
                    yield f"Nothing more to do: {request.said}."
                return
            if over:
                raise LabError(
                    "Unable to finish: the worker ended before it was done.",
                    hint="lab gitops run   (or push again; both resume)",
                )
            time.sleep(_LOOK)


def _opened(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    return path.open(encoding="utf-8", errors="replace")
