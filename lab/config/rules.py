"""What types cannot find: hosts that wait in a circle, claims that clash, rules of a layer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from lab.config.datasets import data_problems
from lab.config.problems import suggest
from lab.config.tree import Node, Place
from lab.errors import Problem
from lab.layer import Layer
from lab.model.host import Host


def waiting_problems(
    hosts: Mapping[str, Host], trees: Mapping[str, Node], declared: Collection[str]
) -> Iterator[Problem]:
    """``after:`` that names nobody, or leads back to where it began.

    ``declared`` also holds the hosts that are not among ``hosts`` because something else is wrong.
    """
    for host in hosts.values():
        for index, name in enumerate(host.after):
            if name not in declared:
                where = trees[host.name].find(("after", index))
                yield Problem(str(where), f"unknown host {name!r}{suggest(name, declared)}")
    done: set[str] = set()
    for start in hosts:
        circle = _circle(start, hosts, done)
        if circle:
            done.update(circle)
            where = trees[circle[0]].find(("after",))
            yield Problem(str(where), f"hosts wait for each other: {' → '.join(circle)}")


def host_problems(
    hosts: Mapping[str, Host], trees: Mapping[str, Node], layers: Sequence[Layer]
) -> Iterator[Problem]:
    """Rules of a layer, and things that only one host can have."""
    claimed: dict[str, tuple[str, Place]] = {}
    for host in hosts.values():
        tree = trees[host.name]
        yield from data_problems(host, tree, layers)
        for layer in layers:
            for part in host.parts[layer.name]:
                for path, what in layer.check(host, part):
                    yield Problem(str(tree.find(path)), what)
                for claim in layer.claims(host, part):
                    place = tree.find(claim.path)
                    other, there = claimed.setdefault(claim.what, (host.name, place))
                    if other != host.name:
                        what = f"{host.name} and {other} both claim {claim.what}"
                        yield Problem(str(place), f"{what} (the other stands at {there})")


def _circle(start: str, hosts: Mapping[str, Host], done: set[str]) -> list[str]:
    """A circle of ``after:`` reached from ``start``, or ``[]``; without recursion."""
    path: list[str] = []
    stack: list[tuple[str, bool]] = [(start, False)]
    while stack:
        name, leaving = stack.pop()
        if leaving:
            path.pop()
            done.add(name)
            continue
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done or name not in hosts:
            continue
        path.append(name)
        stack.append((name, True))
        stack += [(other, False) for other in hosts[name].after]
    return []
