"""Whose turn it is: one process of a lab deals with commits, and the others can say which."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.journal import claim, holder_of


def unheard(text: str) -> None:
    """Nobody wants to know who is waited for."""


@contextmanager
def turn(path: Path, waits: Callable[[str], None]) -> Iterator[None]:
    """Wait until nobody else holds the lock; it dies with its process.

    ``waits`` is told who holds it, once, where it is held.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waits(holder_of(file, path))
            fcntl.flock(file, fcntl.LOCK_EX)
        claim(file)
        try:
            yield
        finally:
            file.truncate(0)


def holder(path: Path) -> str | None:
    """Who has the turn now; ``None`` = nobody."""
    try:
        with path.open("rb", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return holder_of(file, path)
    except FileNotFoundError:
        pass
    return None
