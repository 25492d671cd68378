"""The lab as one SVG file: no script, no font and no address from elsewhere; light and dark."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from lab.api.drawing.layout import (
    BAND_HEAD,
    CARD,
    HEAD,
    MARGIN,
    PAD,
    ROW,
    Band,
    Card,
    Layout,
    laid_out,
)
from lab.api.graph import Graph, Thing

HUES = (
    ("#2563eb", "#7aa8ff"), ("#0d9488", "#4fd1c1"), ("#b45309", "#f0a95a"),
    ("#9333ea", "#c79bff"), ("#be123c", "#ff8aa3"), ("#4d7c0f", "#a5d15a"),
    ("#0369a1", "#62bdf0"), ("#a21caf", "#ea91f2"), ("#57534e", "#b8b2ab"),
    ("#c2410c", "#ff9a6b"),
)  # fmt: skip
"""A colour a persona: on light, on dark."""
LEAST = 560
TITLE = 64
LEGEND = 22
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_STYLE = """
text { font: 12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2937; }
.page { fill: #ffffff; } .band { fill: #f3f4f6; stroke: #e5e7eb; }
.card { fill: #ffffff; stroke: #d1d5db; } .rule { stroke: #e5e7eb; }
.title { font-size: 20px; font-weight: 700; } .name { font-size: 14px; font-weight: 600; }
.head { font-size: 13px; font-weight: 600; } .dim { fill: #6b7280; } .end { text-anchor: end; }
.small { font-size: 11px; }
.order { fill: none; stroke: #9ca3af; stroke-width: 1.6; opacity: 0.8; } .tip { fill: #9ca3af; }
.sign { fill: none; stroke: #6b7280; stroke-width: 1.3; }
"""
_DARK = """
text { fill: #e5e7eb; } .page { fill: #0f141b; } .band { fill: #171e27; stroke: #263140; }
.card { fill: #1f2833; stroke: #354253; } .rule { stroke: #354253; } .dim { fill: #98a4b3; }
.order { stroke: #6b7a8d; } .tip { fill: #6b7a8d; } .sign { stroke: #98a4b3; }
"""


def svg(graph: Graph) -> str:
    """The drawing. Every host, workload and disk tells in its tooltip where it is declared."""
    turn = {persona: n % len(HUES) for n, persona in enumerate(graph.personas)}
    wide = laid_out(graph, 0, LEAST).width
    legend, lines = _legend(graph, turn, wide - 2 * MARGIN)
    layout = laid_out(graph, TITLE + (lines - 1) * LEGEND + 22, LEAST)
    body = [*_heading(graph, layout.width), *legend, *_drawn(graph, layout, turn)]
    size = f'width="{layout.width:.0f}" height="{layout.height:.0f}"'
    box = f'viewBox="0 0 {layout.width:.0f} {layout.height:.0f}"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} role="img">',
        f"<title>{_xml(graph.lab)}</title>",
        f"<style>{_style(len(graph.personas))}</style>",
        '<rect class="page" width="100%" height="100%"/>',
        *body,
        "</svg>\n",
    ])  # fmt: skip


def _style(personas: int) -> str:
    used = range(min(personas, len(HUES)))
    light = "".join(f".p{n} {{ fill: {HUES[n][0]}; }}\n" for n in used)
    dark = "".join(f".p{n} {{ fill: {HUES[n][1]}; }}\n" for n in used)
    return f"{_STYLE}{light}@media (prefers-color-scheme: dark) {{{_DARK}{dark}}}\n"


def _heading(graph: Graph, width: float) -> Iterable[str]:
    counts = (
        (len(graph.hosts), "host"), (len(graph.personas), "persona"),
        (len(graph.providers), "provider"),
        (sum(len(h.workloads) for h in graph.hosts), "workload"),
    )  # fmt: skip
    said = " · ".join(f"{n:,} {word}{'' if n == 1 else 's'}" for n, word in counts)
    yield _label(MARGIN, 38, graph.lab, "title", room=width / 2)
    yield _label(width - MARGIN, 38, said, "dim end")


def _legend(graph: Graph, turn: dict[str, int], room: float) -> tuple[list[str], int]:
    """The personas in lines of at most ``room``, and how many lines that came to."""
    drawn: list[str] = []
    x, number = 0.0, 1
    for persona, purpose in graph.personas.items():
        count = sum(h.persona == persona for h in graph.hosts)
        said = f"{persona} ({count})" + (f"  {purpose}" if purpose else "")
        said = _cut(said, room - 16, 12)
        width = _wide(said, 12) + 40
        if x and x + width > room:
            x, number = 0.0, number + 1
        at = TITLE + (number - 1) * LEGEND
        drawn.append(
            f"<g><title>{_xml(f'{persona}: {purpose}' if purpose else persona)}</title>"
            f'<circle class="p{turn[persona]}" cx="{MARGIN + x + 5:.1f}" cy="{at - 4}" r="5"/>'
            f"{_label(MARGIN + x + 16, at, said)}</g>"
        )
        x += width
    return drawn, number


def _drawn(graph: Graph, layout: Layout, turn: dict[str, int]) -> Iterable[str]:
    for band in layout.bands:
        yield from _band(band, layout.width)
    at = {card.member.host: card for card in layout.cards}
    for first, then in graph.order:
        yield _arrow(at[first], at[then])
    for card in layout.cards:
        yield from _card(card, turn[card.member.persona])


def _band(band: Band, width: float) -> Iterable[str]:
    yield (
        f'<rect class="band" x="{MARGIN}" y="{band.y:.1f}" width="{width - 2 * MARGIN:.1f}" '
        f'height="{band.height:.1f}" rx="12"/>'
    )
    x, y = MARGIN + PAD, band.y + BAND_HEAD - 12
    name = _cut(band.provider, 220, 13)
    yield _label(x, y, name, "head")
    yield _label(x + _wide(name, 13) + 10, y, band.kind, "dim")


def _arrow(first: Card, then: Card) -> str:
    x1, y1 = first.x + CARD, first.y + HEAD / 2
    x2, y2 = then.x - 7, then.y + HEAD / 2
    bend = max(28.0, (x2 - x1) / 2.4)
    said = f"{then.member.host} is converged after {first.member.host}"
    return (
        f'<g><title>{_xml(said)}</title><path class="order" d="M{x1:.1f} {y1:.1f} '
        f'C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"/>'
        f'<path class="tip" d="M{x2 + 7:.1f} {y2:.1f} l-9 -4.5 v9 z"/></g>'
    )


def _card(card: Card, hue: int) -> Iterable[str]:
    member, x, y = card.member, card.x, card.y
    tooltip = [f"{member.host}: {member.persona} on {member.provider}", member.where]
    tooltip += [f"after {', '.join(member.after)}"] if member.after else []
    tooltip += ["protected: nothing of it is destroyed"] if member.protect else []
    yield f"<g><title>{_xml(chr(10).join(tooltip))}</title>"
    shape = f'x="{x:.1f}" y="{y:.1f}" height="{card.height:.1f}"'
    yield f'<rect class="card" {shape} width="{CARD}" rx="8"/>'
    yield f'<rect class="p{hue}" {shape} width="5" rx="2.5"/>'
    yield _label(x + 16, y + 21, member.host, "name", room=CARD - 44)
    yield _label(x + 16, y + 37, member.persona, "dim small", room=CARD - 28)
    if member.protect:
        yield _lock(x + CARD - 22, y + 11)
    yield "</g>"
    if card.rows:
        yield f'<path class="rule" d="M{x + 5:.1f} {y + HEAD - 3:.1f} h{CARD - 5}"/>'
    for number, thing in enumerate(card.rows):
        yield _row(thing, x + 16, y + HEAD + number * ROW)
    if card.rest:
        at = y + HEAD + len(card.rows) * ROW + 13
        yield _label(x + 16, at, f"… and {card.rest} more", "dim small")


def _row(thing: Thing, x: float, y: float) -> str:
    inner = 16.0 if thing.of else 0.0
    sign = _box(x, y + 4) if thing.kind == "workload" else _drum(x + inner, y + 4)
    room = CARD - 52 - inner
    detail = _cut(thing.detail, room / 1.6, 11)
    name = _cut(thing.name, room - (_wide(detail, 11) + 8 if detail else 0), 12)
    said = f"{thing.kind} {thing.name} {thing.detail}".strip() + f"\n{thing.where}"
    right = _label(x + CARD - 28, y + 14, detail, "dim small end") if detail else ""
    text = _label(x + inner + 18, y + 14, name)
    return f"<g><title>{_xml(said)}</title>{sign}{text}{right}</g>"


def _box(x: float, y: float) -> str:
    """A workload."""
    return (
        f'<rect class="sign" x="{x + 1:.1f}" y="{y:.1f}" width="10" height="10" rx="2.5"/>'
        f'<path class="sign" d="M{x + 1:.1f} {y + 3.5:.1f} h10"/>'
    )


def _drum(x: float, y: float) -> str:
    """Something that lasts."""
    return (
        f'<path class="sign" d="M{x + 1:.1f} {y + 2:.1f} v7 a5 2 0 0 0 10 0 v-7"/>'
        f'<ellipse class="sign" cx="{x + 6:.1f}" cy="{y + 2:.1f}" rx="5" ry="2"/>'
    )


def _lock(x: float, y: float) -> str:
    """Protected."""
    return (
        f'<rect class="sign" x="{x:.1f}" y="{y + 5:.1f}" width="10" height="8" rx="1.5"/>'
        f'<path class="sign" d="M{x + 2:.1f} {y + 5:.1f} v-2 a3 3 0 0 1 6 0 v2"/>'
    )


def _label(x: float, y: float, text: str, kind: str = "", *, room: float = 0.0) -> str:
    size = {"title": 20, "name": 14, "head": 13}.get(kind, 12)
    shown = _cut(text, room, size) if room else text
    of = f' class="{kind}"' if kind else ""
    return f'<text{of} x="{x:.1f}" y="{y:.1f}">{_xml(shown)}</text>'


def _wide(text: str, size: int) -> float:
    """About how wide a text is: fonts differ, so rather too much."""
    return sum(size * (1.0 if ord(c) > 0x2E7F else 0.62) for c in text)  # noqa: PLR2004  (CJK)


def _cut(text: str, room: float, size: int) -> str:
    if _wide(text, size) <= room:
        return text
    kept = text
    while kept and _wide(kept, size) > room - size:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def _xml(text: str) -> str:
    """Text that can stand in XML, whatever is in it."""
    return escape(_UNPRINTABLE.sub("\ufffd", text))
