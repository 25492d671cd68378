"""The drawing: what is in it, that it is well-formed whatever the names, that nothing overlaps."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from lab import Lab
from lab.api.drawing import drawable, mermaid, svg
from lab.api.drawing.layout import CARD, laid_out
from lab.api.graph import Graph, Member, Thing

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def example(repository):
    with Lab.load(repository) as lab:
        return lab.graph()


def fleet(count):
    """Three providers, four personas, workloads of differing number, chains of three."""
    members = []
    for n in range(count):
        things = [Thing("workload", f"w{k}", where=f"p.yaml:{k}:1") for k in range(n % 5)]
        things += [Thing("folder", f"/srv/w{k}", of=f"w{k}") for k in range(n % 5)]
        things += [Thing("disk", f"d{k}", detail="8GiB") for k in range(n % 3)]
        after = (f"h{n - 7}",) if n % 10 >= 7 else ()
        rank = 1 if after else 0
        where = f"hosts.yaml:{n}:3"
        place = (f"p{n % 4}", f"box{n % 3}")
        members.append(Member(f"h{n}", *place, rank, after, tuple(things), where=where))
    return Graph(
        "fleet",
        tuple(members),
        {f"p{n}": "a purpose" for n in range(4)},
        {f"box{n}": "memory" for n in range(3)},
    )


def test_the_example_lab_is_drawn_with_what_its_files_say(example):
    by_name = {m.host: m for m in example.hosts}
    assert example.order == (("db1", "nas1"),)
    assert by_name["nas1"].rank == 1
    assert by_name["db1"].protect
    assert [t.name for t in by_name["web1"].workloads] == ["start"]
    assert {t.name for t in by_name["web1"].lasting} == {"/srv/start", "data"}
    assert re.fullmatch(r"inventory/hosts\.yaml:\d+:\d+", by_name["web1"].where)
    start = by_name["web1"].workloads[0]
    assert start.detail == ":8080/"
    assert re.fullmatch(r"personas/web\.yaml:\d+:\d+", start.where)


def test_selectors_narrow_it(repository):
    with Lab.load(repository) as lab:
        drawn = lab.graph("host=nas1")
    assert [m.host for m in drawn.hosts] == ["nas1"]
    assert (drawn.order, drawn.hosts[0].after, drawn.hosts[0].rank) == ((), ("db1",), 0)
    assert set(drawn.personas) == {"nas"}
    ET.fromstring(svg(drawn))


def test_the_svg_stands_alone_and_names_the_places(example):
    text = svg(example)
    root = ET.fromstring(text)
    assert {e.tag.removeprefix(SVG) for e in root.iter()} <= {
        "svg", "title", "style", "rect", "g", "text", "path", "circle", "ellipse"
    }  # fmt: skip
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(|href|<script", text)
    assert "prefers-color-scheme: dark" in text
    tooltips = [t.text for t in root.iter(f"{SVG}title")]
    assert any("inventory/hosts.yaml:" in t for t in tooltips)
    assert any("workload start" in t and "personas/web.yaml:" in t for t in tooltips)
    assert any("nas1 is converged after db1" in t for t in tooltips)


@pytest.mark.parametrize(
    "word", ["<b>&\"'", "]]>", "a\x00\x1b[31mb", "日本語" * 30, "--> end", "#1;"]
)
def test_any_name_gives_well_formed_drawings(word):
    thing = Thing("workload", word, detail=word, where=word)
    disk = Thing("disk", word, of=word, detail=word)
    hosts = (
        Member(word, word, word, 0, (), (thing, disk), where=word),
        Member("b", "x", word, 1, (word,)),
    )
    drawn = Graph(word, hosts, {word: word, "x": ""}, {word: word})
    ET.fromstring(svg(drawn))
    for text in mermaid(drawn).splitlines()[1:]:
        assert LINE.fullmatch(text), text


TEXT = r'"[\w .,:;/_\-+()@·%=#<>]*"'
LINE = re.compile(
    rf"flowchart LR|  subgraph p\d+\[{TEXT}\]|  end|    h\d+\[{TEXT}\]"
    rf"|    h\d+ --- h\d+w\d+\(\[{TEXT}\]\)|    h\d+(w\d+)? --- h\d+d\d+\[\({TEXT}\)\]"
    r"|  h\d+ ==> h\d+|  classDef c\d+ stroke:#[0-9a-f]{6},stroke-width:3px"
    r"|  class h\d+(,h\d+)* c\d+"
)


def test_mermaid_says_every_host_workload_and_order_once(example):
    text = mermaid(example)
    assert all(LINE.fullmatch(part) for part in text.splitlines()[1:])
    assert text.count("==>") == 1
    assert text.count("subgraph ") == text.count("\n  end\n") == 1
    for name in ("web1<br/>web", "start :8080/", "/srv/postgres", "nas1<br/>nas · protected"):
        assert name in text


def test_a_large_lab_stays_within_what_mermaid_draws():
    text = mermaid(fleet(300))
    assert drawable(text)
    assert " --- " not in text
    assert "<br/>w3" in text
    assert all(LINE.fullmatch(part) for part in text.splitlines()[1:])
    assert " --- " in mermaid(fleet(50))
    assert not drawable(mermaid(fleet(3000)))


@pytest.mark.parametrize("count", [1, 3, 50, 300])
def test_nothing_overlaps_and_everything_is_inside(count):
    layout = laid_out(fleet(count), 100, 560)
    cards = layout.cards
    assert len(cards) == count
    bands = {b.provider: b for b in layout.bands}
    for card in cards:
        band = bands[card.member.provider]
        assert band.y < card.y
        assert card.y + card.height < band.y + band.height
        assert 0 < card.x < card.x + CARD < layout.width
    for n, a in enumerate(cards):
        for b in cards[n + 1 :]:
            apart = abs(a.x - b.x) >= CARD or a.y + a.height <= b.y or b.y + b.height <= a.y
            assert apart, (a.member.host, b.member.host)
    at = {c.member.host: c for c in cards}
    assert all(at[a].x + CARD < at[b].x for a, b in fleet(count).order)


def test_fifty_hosts_are_about_as_wide_as_high():
    layout = laid_out(fleet(50), 100, 560)
    assert 0.4 < layout.width / layout.height < 2.5


def test_much_on_one_host_is_counted():
    many = tuple(Thing("workload", f"w{n}") for n in range(30))
    one = replace(fleet(1), hosts=(Member("a", "p0", "box0", things=many),))
    assert "… and 23 more" in svg(one)


def test_no_hosts_at_all_is_still_a_drawing():
    none = Graph("empty", (), {}, {})
    ET.fromstring(svg(none))
    assert mermaid(none).splitlines()[1] == "flowchart LR"
