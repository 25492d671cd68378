"""The nearest right word for a wrong one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'plan'?"``, or ``"."`` where nothing is near: the end of a sentence."""
    matches = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else "."
