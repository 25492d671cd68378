"""Connections opened while the program is still loading, for whoever asks for the same ones.

Loading takes about as long as logging in. Where a caller knows what it will connect to (it said
the same words before, and no file of the lab changed since), both happen at once. A session opened
ahead is handed out once, to whoever wants exactly its command line; one that ended meanwhile, or
that has waited too long, is not: then a new one is opened as always. Nothing is sent before that.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.clients.shell_session import Session

MOST = 16
"""At a time; further ones are opened when they are asked for."""
_KEPT_SECONDS = 15.0
_PID = "{pid}"


@dataclass(frozen=True, slots=True)
class Opening:
    """How a session was opened.

    ``known`` holds the path and the content of the file with the one accepted host key; both are
    empty where there is none. This process's number stands as ``{pid}`` in paths.
    """

    argv: tuple[str, ...]
    known: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class _Waiting:
    session: Session
    since: float
    known: str


_lock = threading.Lock()
_waiting: dict[tuple[str, ...], _Waiting] = {}
_opened: dict[tuple[str, ...], Opening] = {}


def begin(openings: Iterable[Opening]) -> None:
    """Start the first of these sessions. What cannot be started is left to who asks for it."""
    for opening in [*openings][:MOST]:
        argv = tuple(_now(word) for word in opening.argv)
        path, line = _now(opening.known[0]), opening.known[1]
        with contextlib.suppress(OSError):
            if path:
                write_private(Path(path), line)
            with _lock:
                _waiting[argv] = _Waiting(Session(list(argv)), time.monotonic(), path)


def take(argv: list[str]) -> Session | None:
    """The session that was opened ahead by this very command line, or ``None``."""
    with _lock:
        found = _waiting.pop(tuple(argv), None)
    if found is None:
        return None
    if found.session.alive and time.monotonic() - found.since < _KEPT_SECONDS:
        return found.session
    found.session.end()
    return None


def note(argv: list[str], known: Path | None, line: str) -> None:
    """Keep in mind that this was asked for, for :func:`opened`."""
    mark = f"-{os.getpid()}-"
    words = [w.replace(mark, f"-{_PID}-") if known and str(known) in w else w for w in argv]
    path = str(known).replace(mark, f"-{_PID}-") if known else ""
    with _lock:
        _opened[tuple(argv)] = Opening(tuple(words), (path, line if known else ""))


def opened() -> list[Opening]:
    """What this process asked for so far."""
    with _lock:
        return list(_opened.values())


def end() -> None:
    """End what nobody asked for, and remove its files."""
    with _lock:
        left = list(_waiting.values())
        _waiting.clear()
    for waiting in left:
        waiting.session.hang_up()
    for waiting in left:
        waiting.session.end()
        if waiting.known:
            Path(waiting.known).unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, and its folder."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _now(word: str) -> str:
    return word.replace(f"-{_PID}-", f"-{os.getpid()}-")
