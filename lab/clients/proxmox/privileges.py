"""What a token may do where, by the rules of the API: the nearest path that is listed decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Privileges:
    """The answer of ``/access/permissions``: path to privilege to whether it goes further down.

    A path that is listed holds just what stands there; any other has what the nearest one above it
    hands down.
    """

    listed: Mapping[str, Mapping[str, int]]

    def at(self, path: str) -> frozenset[str]:
        """What the token may do there."""
        if path in self.listed:
            return frozenset(self.listed[path])
        above = path
        while above != "/":
            above = above.rsplit("/", 1)[0] or "/"
            if above in self.listed:
                return frozenset(p for p, goes_down in self.listed[above].items() if goes_down)
        return frozenset()

    def lacking(self, path: str, wanted: Iterable[str]) -> tuple[str, ...]:
        """Those of ``wanted`` that it has not got there, sorted."""
        return tuple(sorted(set(wanted) - self.at(path)))

    @property
    def is_powerless(self) -> bool:
        """Whether it may do nothing at all: lists are empty then, and nothing says why."""
        return not any(self.listed.values())
