"""Which packages somebody chose: not those that come along with what is declared anyway."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_NAME = re.compile(r"^\s*([a-z0-9][a-z0-9+.-]*)")


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package. ``needs``: one entry a dependency, any of whose names satisfies it."""

    priority: str
    essential: bool
    version: str
    needs: tuple[frozenset[str], ...] = ()
    provides: frozenset[str] = frozenset()


def dependencies(text: str) -> tuple[frozenset[str], ...]:
    """Of ``libc6 (>= 2.38), a | b``: a set of names each."""
    groups = (_names(group, "|") for group in text.split(","))
    return tuple(g for g in groups if g)


def names(text: str) -> frozenset[str]:
    """Of ``mail-transport-agent, x (= 1)``."""
    return _names(text, ",")


def _names(text: str, cut: str) -> frozenset[str]:
    found = (_NAME.match(part) for part in text.split(cut))
    return frozenset(match[1] for match in found if match)


def chosen(packages: Mapping[str, Package], known: Iterable[str], by_hand: set[str]) -> list[str]:
    """Of those installed ``by_hand`` the ones that neither ``known`` nor one another brings."""
    brings = _Closure(packages)
    there = brings.of(known)
    left = sorted(by_hand - there)
    out: list[str] = []
    for name in left:
        others = [n for n in left if n != name and (n in out or n > name)]
        if name not in brings.of(others):
            out.append(name)
    return out


class _Closure:
    """What comes along with a package, by its dependencies, as far as it is installed."""

    def __init__(self, packages: Mapping[str, Package]) -> None:
        self._packages = packages
        self._providers: dict[str, list[str]] = {}
        for name, package in packages.items():
            for provided in {name, *package.provides}:
                self._providers.setdefault(provided, []).append(name)

    def of(self, roots: Iterable[str]) -> set[str]:
        """The roots and everything below them."""
        found: set[str] = set()
        waiting = [name for name in roots if name in self._packages]
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            found.add(name)
            for alternatives in self._packages[name].needs:
                for wanted in alternatives:
                    waiting += [p for p in self._providers.get(wanted, ()) if p not in found]
        return found
