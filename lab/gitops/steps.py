"""What happens to a pushed commit, as values: the command line writes them out for the pusher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import events
from lab.errors import LabError
from lab.gitops.git import CommitInfo
from lab.gitops.store import Request, State, Trial
from lab.gitops.touched import Touched
from lab.model.outcome import RunReport


@dataclass(frozen=True, slots=True)
class Begun:
    """A commit is looked at."""

    request: Request
    about: CommitInfo


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot be used; ``root`` is where its files can be read while this is told."""

    error: LabError
    root: Path | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """Which hosts it touches; those in ``trials`` are left alone, ``orphans`` still exist."""

    touched: Touched
    trials: tuple[Trial, ...] = ()
    orphans: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """What would change on those hosts."""

    report: RunReport


@dataclass(frozen=True, slots=True)
class Converged:
    """What came of applying it."""

    report: RunReport


@dataclass(frozen=True, slots=True)
class Ended:
    """The last word; ``waiting`` hosts are left for ``lab approve``."""

    request: Request
    state: State
    said: str
    waiting: tuple[str, ...] = ()


Step = Begun | Refused | Looked | Planned | Converged | Ended | events.Event
Tell = Callable[[Step], None]
