"""What is on a machine and in no file of the lab: one thing, its weight, and a host's score."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Sort(StrEnum):
    """The sorts of things that can be on a machine undeclared, as ``accepted.yaml`` names them."""

    DIRECTORY = "directory"
    VOLUME = "volume"
    USER = "user"
    KEY = "key"
    SUDOERS = "sudoers"
    MEMBER = "member"
    SETUID = "setuid"
    UNIT = "unit"
    CRON = "cron"
    PORT = "port"
    CONTAINER = "container"
    MOUNT = "mount"
    SOURCE = "apt source"
    PACKAGE = "package"
    MISSING = "missing package"
    CONFFILE = "changed file"
    FILE = "file"
    SETTING = "setting"
    SYSCTL = "sysctl"
    MODULE = "kernel module"
    GROUP = "group"
    NETWORK = "network"
    IMAGE = "image"

    @property
    def weight(self) -> int:
        """5: data that a rebuild loses; 3: lets somebody in, or up; 2: runs; 1: the rest."""
        return _WEIGHTS.get(self, 1)

    @property
    def rank(self) -> int:
        """Place in every list: the heaviest sorts stand first."""
        return list(Sort).index(self)


_WEIGHTS = {
    **dict.fromkeys((Sort.DIRECTORY, Sort.VOLUME), 5),
    **dict.fromkeys((Sort.USER, Sort.KEY, Sort.SUDOERS, Sort.MEMBER, Sort.SETUID), 3),
    **dict.fromkeys((Sort.UNIT, Sort.CRON, Sort.PORT, Sort.CONTAINER), 2),
    **dict.fromkeys((Sort.MOUNT, Sort.SOURCE), 2),
}


_FOR_THEIR_SIZE = frozenset({Sort.DIRECTORY, Sort.VOLUME, Sort.IMAGE})


@dataclass(frozen=True, slots=True)
class Undeclared:
    """One thing that is there and that no file of the lab says anything about.

    Attributes:
        name: What people call it, unique among its sort on a host: a path, a package, a user.
        detail: A few words more, for people: ``"enabled, running"``.
        size: Bytes, where that matters; ``None`` = it does not, or is not known.
        accepted: The reason that ``accepted.yaml`` gives; ``""`` = it counts.
    """

    sort: Sort
    name: str
    detail: str = ""
    size: int | None = None
    accepted: str = ""


Known = frozenset[tuple[Sort, str]]
"""Things that the lab does account for: sort and name. Of a key the name is the key itself."""


def ordered(things: Iterable[Undeclared]) -> tuple[Undeclared, ...]:
    """By sort, then by name; of what is told for its size the largest first. Each thing once."""

    def place(thing: Undeclared) -> tuple[int, int, str]:
        large = thing.size or 0 if thing.sort in _FOR_THEIR_SIZE else 0
        return (thing.sort.rank, -large, thing.name)

    return tuple(sorted(set(things), key=place))


def score(things: Iterable[Undeclared]) -> int:
    """The weights of all that is not accepted; 0 = nothing is on the machine that is not here."""
    return sum(t.sort.weight for t in things if not t.accepted)
