"""Which sets of data a host has: its layers', its persona's; and what is wrong with them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from lab.config.tree import Node
from lab.errors import Problem
from lab.layer import Layer
from lab.model.dataset import DataSet, inside
from lab.model.host import Host

if TYPE_CHECKING:
    from lab.model.hooks import DeclaredData

IDENTITY = "identity"
"""The set that every machine has: what makes it the one that others know."""
DISK = "disk"
"""Its boot disk, as an image."""
_RESERVED = frozenset({IDENTITY, DISK})


def data_sets(host: Host, layers: Iterable[Layer]) -> tuple[DataSet, ...]:
    """Everything declared that must not be lost, by name; each path once."""
    found = [
        one
        for layer in layers
        for part in host.parts.get(layer.name, ())
        for one in layer.data(host, part)
    ]
    return tuple(sorted((*found, *host.data), key=lambda one: one.name))


def declared(entries: Mapping[str, DeclaredData]) -> tuple[DataSet, ...]:
    """The sets of a persona's ``data:``."""
    return tuple(
        DataSet(
            name=name,
            paths=outermost(entry.paths),
            exclude=entry.exclude,
            dump=entry.dump,
            restore=entry.restore,
            before=entry.quiesce.before,
            after=entry.quiesce.after,
            route=entry.route or "",
            where=("data", name),
        )
        for name, entry in entries.items()
    )


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Sorted, without those that lie inside another one."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(inside(path, other) for other in kept):
            kept.append(path)
    return tuple(kept)


def data_problems(host: Host, tree: Node, layers: Iterable[Layer]) -> Iterator[Problem]:
    """Two sets of one name, or one path in two sets; what is left out and not in it."""
    sets = data_sets(host, layers)
    names: dict[str, DataSet] = {}
    for one in sets:
        place = str(tree.find(one.where))
        if one.name in _RESERVED:
            yield Problem(place, f"the set of data {one.name!r} is the lab's own: another name")
        other = names.setdefault(one.name, one)
        if other is not one:
            there = tree.find(other.where)
            yield Problem(place, f"two sets of data are called {one.name!r}: also {there}")
        for pattern in one.exclude:
            if not any(inside(pattern, path) for path in one.paths):
                yield Problem(place, f"{pattern} is left out of {one.name}, and is not in it")
    yield from _overlaps(sets, tree)


def _overlaps(sets: tuple[DataSet, ...], tree: Node) -> Iterator[Problem]:
    paths = sorted((path, one.name, one) for one in sets for path in one.paths)
    above: tuple[str, str, DataSet] | None = None
    for path, name, one in paths:
        if above is not None and inside(path, above[0]) and name != above[1]:
            yield Problem(
                str(tree.find(one.where)),
                f"{path} of {name} lies in {above[0]} of {above[1]}: "
                "a path belongs to one set of data",
            )
        elif above is None or not inside(path, above[0]):
            above = (path, name, one)
