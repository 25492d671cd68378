"""The journal's rows as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Score:
    """What a host's last survey came to; ``things`` counts what is undeclared and not accepted."""

    host: str
    at: float
    score: int
    things: int


@dataclass(frozen=True, slots=True)
class Owned:
    """One thing the ledger says is ours: enough to observe and to delete it."""

    host: str
    layer: str
    part: str
    driver: str
    persona: str
    provider: str
    spec: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of the past; ``ended`` is ``None`` where it was cut off (or still runs).

    ``seconds`` is what a clock that nobody sets measured; ``running``: it holds its locks now.
    """

    run: str
    verb: str
    started: float
    ended: float | None
    exit_code: int | None
    who: str
    commit: str | None
    hosts: tuple[str, ...]
    changes: int
    seconds: float | None = None
    running: bool = False


@dataclass(frozen=True, slots=True)
class PartRecord:
    """How a part of a host ended last, and the digest of the spec it ended with."""

    run: str
    host: str
    layer: str
    part: str
    outcome: str
    spec: str
    ended: float


@dataclass(frozen=True, slots=True)
class Look:
    """What the last ``verify`` saw of a part, and since when it has been seeing just that.

    ``spec`` is the digest of what was declared then; ``changes`` counts what was to be done.
    """

    host: str
    layer: str
    part: str
    at: float
    outcome: str
    changes: int
    spec: str
    since: float


@dataclass(frozen=True, slots=True)
class Holder:
    """Who works on a host at this moment: it holds the host's lock."""

    who: str
    pid: int
    since: float
    command: str
