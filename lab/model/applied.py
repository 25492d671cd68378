"""Which commit a host was brought to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Applied:
    """What a host was brought to: a commit, by which run, and when (epoch seconds).

    ``commit`` ends in ``+`` where files differed from it; ``""`` = they were in no repository.
    """

    commit: str
    run: str
    at: float
