"""Which hosts a commit touches: computed from what is declared for each, not from file names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lab.engine.digests import Digests
from lab.model.host import Host


@dataclass(frozen=True, slots=True)
class Touched:
    """Hosts by what a commit does to them, each in the order they are declared.

    Attributes:
        changed: Declared differently than what was last dealt with.
        new: Not known before.
        removed: Known before, no longer declared. Nothing is ever done to them.
        same: How many are declared as before.
    """

    changed: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    same: int = 0

    @property
    def hosts(self) -> tuple[str, ...]:
        """Those to plan."""
        return (*self.changed, *self.new)


def digests_of(hosts: Iterable[Host]) -> dict[str, str]:
    """Host name to the digest of everything that is declared for it."""
    digests = Digests()
    return {host.name: digests.host(host) for host in hosts}


def touched(before: Mapping[str, str], now: Mapping[str, str]) -> Touched:
    """Compare two answers of :func:`digests_of`."""
    changed = tuple(h for h, d in now.items() if h in before and before[h] != d)
    return Touched(
        changed=changed,
        new=tuple(h for h in now if h not in before),
        removed=tuple(h for h in before if h not in now),
        same=sum(before.get(h) == d for h, d in now.items()),
    )
