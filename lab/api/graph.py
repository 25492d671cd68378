"""The lab as a drawing knows it: hosts, what runs and lies on each, and what waits for what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lab.config import Inventory
from lab.config.tree import Node
from lab.model.host import Host


@dataclass(frozen=True, slots=True)
class Thing:
    """A workload, or something that lasts: ``kind`` is ``"workload"``, ``"disk"`` or ``"folder"``.

    Attributes:
        of: The workload that a folder belongs to; ``""`` = the host.
        detail: ``"8GiB on /srv"``, ``":8080/"``, or nothing.
        where: ``file:line:column`` of what declares it.
    """

    kind: str
    name: str
    of: str = ""
    detail: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """One host. ``rank`` is how many hosts one after the other come before it."""

    host: str
    persona: str
    provider: str
    rank: int = 0
    after: tuple[str, ...] = ()
    things: tuple[Thing, ...] = ()
    protect: bool = False
    where: str = ""

    @property
    def workloads(self) -> tuple[Thing, ...]:
        """What runs on it."""
        return tuple(t for t in self.things if t.kind == "workload")

    @property
    def lasting(self) -> tuple[Thing, ...]:
        """What must not be lost."""
        return tuple(t for t in self.things if t.kind != "workload")


@dataclass(frozen=True, slots=True)
class Graph:
    """The chosen hosts in their order. ``personas`` and ``providers`` are those they use.

    Attributes:
        personas: Name to purpose.
        providers: Name to kind.
    """

    lab: str
    hosts: tuple[Member, ...]
    personas: Mapping[str, str]
    providers: Mapping[str, str]

    @property
    def order(self) -> tuple[tuple[str, str], ...]:
        """``(first, then)`` for every ``after:`` between hosts of this graph."""
        shown = {h.host for h in self.hosts}
        return tuple((a, h.host) for h in self.hosts for a in h.after if a in shown)


def graph_of(inventory: Inventory, hosts: Iterable[Host]) -> Graph:
    """The graph of these hosts; pure."""
    chosen = tuple(hosts)
    ranks = _ranks(chosen)
    members = tuple(_member(h, inventory.documents.get(h.name), ranks[h.name]) for h in chosen)
    personas = dict.fromkeys(m.persona for m in members)
    providers = dict.fromkeys(m.provider for m in members)
    return Graph(
        lab=inventory.name,
        hosts=members,
        personas={p: inventory.personas.get(p, "") for p in personas},
        providers={p: inventory.providers.get(p, "") for p in providers},
    )


def _ranks(hosts: tuple[Host, ...]) -> dict[str, int]:
    """The length of the longest chain of hosts before each. The config refuses circles."""
    known = {h.name: h.after for h in hosts}
    ranks: dict[str, int] = {}
    waiting = list(known)
    while waiting:
        later = []
        for name in waiting:
            before = [a for a in known[name] if a in known]
            if all(a in ranks for a in before):
                ranks[name] = max((ranks[a] + 1 for a in before), default=0)
            else:
                later.append(name)
        if len(later) == len(waiting):
            return {**ranks, **dict.fromkeys(later, 0)}
        waiting = later
    return ranks


def _member(host: Host, document: Node | None, rank: int) -> Member:
    things: list[Thing] = []
    if document is not None:
        things = [*_workloads(document), *_disks(document)]
    return Member(
        host=host.name,
        persona=host.persona,
        provider=host.provider,
        rank=rank,
        after=host.after,
        things=tuple(things),
        protect=host.protect,
        where=str(document.place) if document is not None else "",
    )


def _workloads(document: Node) -> Iterable[Thing]:
    for name, node, where in _entries(document, "workloads"):
        health = node.get("health")
        checks = health.value.values() if health and isinstance(health.value, dict) else ()
        address = next((str(c.value) for c in checks if str(c.value).startswith(":")), "")
        yield Thing("workload", name, detail=address, where=where)
        folders = node.get("data")
        for folder in folders.value if folders and isinstance(folders.value, list) else ():
            yield Thing("folder", str(folder.value), of=name, where=str(folder.place))


def _disks(document: Node) -> Iterable[Thing]:
    machine = document.get("machine")
    for name, node, where in _entries(machine, "disks"):
        durable = node.get("durable")
        if durable is not None and durable.value is True:
            size, mount = (_text(node, "size"), _text(node, "mount"))
            yield Thing("disk", name, detail=f"{size} on {mount}" if mount else size, where=where)


def _entries(node: Node | None, key: str) -> Iterable[tuple[str, Node, str]]:
    found = node.get(key) if node is not None else None
    if found is not None and isinstance(found.value, dict):
        for name, inner in found.value.items():
            yield name, inner, str(found.keys.get(name, inner.place))


def _text(node: Node, key: str) -> str:
    found = node.get(key)
    return "" if found is None or found.value is None else str(found.value)
