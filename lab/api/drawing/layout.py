"""Where everything stands in the drawing: a band a provider, a column a step of the order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.api.graph import Graph, Member, Thing

CARD = 216
HEAD = 48
ROW = 19
FOOT = 9
GAP = 16
LANE = 64
"""Between two steps of the order: the arrows need room."""
PAD = 20
BAND_HEAD = 34
MARGIN = 24
ROWS = 8
"""So many workloads and data are shown a card; the others are counted."""
SHAPE = 1.3
"""Wider than high, as screens are."""
FEW = 4


@dataclass(frozen=True, slots=True)
class Card:
    """One host and its place. ``rest`` counts what is not shown."""

    member: Member
    rows: tuple[Thing, ...]
    rest: int
    x: float = 0
    y: float = 0

    @property
    def height(self) -> float:
        """Head, rows, foot."""
        count = len(self.rows) + bool(self.rest)
        return HEAD + (count * ROW + FOOT if count else 0)


@dataclass(frozen=True, slots=True)
class Band:
    """One provider: the field that its hosts stand in."""

    provider: str
    kind: str
    y: float
    height: float
    count: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole drawing; ``top`` is where the bands begin."""

    width: float
    height: float
    bands: tuple[Band, ...]
    cards: tuple[Card, ...]


def laid_out(graph: Graph, top: float, least: float) -> Layout:
    """Everything in its place, below ``top``, at least ``least`` wide."""
    cells = _cells(graph)
    awaited = frozenset(first for first, _ in graph.order)
    ranks = sorted({rank for _, rank in cells})
    columns = {rank: _columns([c for (_, r), c in cells.items() if r == rank]) for rank in ranks}
    starts, x = {}, float(MARGIN + PAD)
    for rank in ranks:
        starts[rank] = x
        x += columns[rank] * (CARD + GAP) - GAP + LANE
    width = max(x - LANE + PAD + MARGIN, least)
    bands: list[Band] = []
    cards: list[Card] = []
    y = top
    for provider, kind in graph.providers.items():
        inner = y + BAND_HEAD
        bottom = inner
        own = {rank: cells[provider, rank] for rank in ranks if (provider, rank) in cells}
        for rank, waiting in own.items():
            placed = _stacked(waiting, starts[rank], inner, columns[rank], awaited)
            cards += placed
            bottom = max(bottom, *(c.y + c.height for c in placed))
        count = sum(len(c) for c in own.values())
        bands.append(Band(provider, kind, y, bottom + PAD - y, count))
        y = bottom + PAD + GAP
    return Layout(width, y - GAP + MARGIN, tuple(bands), tuple(cards))


def _cells(graph: Graph) -> dict[tuple[str, int], list[Card]]:
    """Cards by provider and rank; hosts of one persona stand together."""
    turn = {persona: n for n, persona in enumerate(graph.personas)}
    cells: dict[tuple[str, int], list[Card]] = {}
    for member in sorted(graph.hosts, key=lambda m: turn[m.persona]):
        rows = tuple(_rows(member))
        shown = rows if len(rows) <= ROWS else rows[: ROWS - 1]
        card = Card(member, shown, len(rows) - len(shown))
        cells.setdefault((member.provider, member.rank), []).append(card)
    return cells


def _rows(member: Member) -> Iterable[Thing]:
    """Each workload with its folders below it, then the disks."""
    for workload in member.workloads:
        yield workload
        yield from (t for t in member.lasting if t.of == workload.name)
    yield from (t for t in member.lasting if not t.of)


def _columns(cells: Sequence[Sequence[Card]]) -> int:
    """How many cards stand side by side, so that the whole is about as wide as high."""
    most = max(cells, key=len)
    if len(most) <= FEW:
        return 1
    area = sum(c.height + GAP for c in most) * (CARD + GAP)
    return max(1, round(math.sqrt(area * SHAPE) / (CARD + GAP)))


def _stacked(
    cards: Sequence[Card], x: float, y: float, columns: int, awaited: frozenset[str]
) -> list[Card]:
    """Each card goes where there is most room; those of equal height stay in reading order.

    What others wait for stands in the last column, so that its arrows are seen to leave it.
    """
    bottoms = [y] * columns
    placed = []
    for card in sorted(cards, key=lambda c: c.member.host not in awaited):
        column = min(range(columns), key=bottoms.__getitem__)
        if card.member.host in awaited:
            column = columns - 1
        at = bottoms[column]
        placed.append(Card(card.member, card.rows, card.rest, x + column * (CARD + GAP), at))
        bottoms[column] = at + card.height + GAP
    return placed
