"""``accepted.yaml``: every mistake at its place, and whom an entry is about."""

import pytest

from lab.model.host import Host
from lab.model.undeclared import Sort, Undeclared

HOSTS = "hosts:\n  web1: {persona: web, provider: box}\n  shop1: {persona: shop, provider: box}\n"
SHOP = "extends: [web]\nbox: {}\n"


def files(**more):
    return {"inventory/hosts.yaml": HOSTS, "personas/shop.yaml": SHOP, **more}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accepted:\n  - {kind: package, name: x}\n", "accepted.yaml:2:5: 'reason' is missing"),
        (
            "accepted:\n  - {kind: package, name: x, reason: ' '}\n",
            "accepted.yaml:2:30: say why",
        ),
        (
            "accepted:\n  - {kind: pakage, name: x, reason: y}\n",
            "accepted.yaml:2:6: 'pakage' is not a kind; did you mean 'package'?",
        ),
        (
            "accepted:\n  - {kind: package, nam: x, reason: y}\n",
            "accepted.yaml:2:5: 'name' is missing",
        ),
        (
            "accepted:\n  - {kind: package, name: x, reason: y, host: wep1}\n",
            "accepted.yaml:2:41: unknown host 'wep1'; did you mean 'web1'?",
        ),
        (
            "accepted:\n  - {kind: package, name: x, reason: y, persona: wep}\n",
            "accepted.yaml:2:41: unknown persona 'wep'; did you mean 'web'?",
        ),
        ("acepted: []\n", "accepted.yaml:1:1: unknown key 'acepted'; did you mean 'accepted'?"),
    ],
)
def test_a_mistake_is_told_where_it_stands(wrong, text, said):
    told = wrong(files(**{"accepted.yaml": text}))
    assert [p for p in told if p.startswith(said)], told


THING = Undeclared(Sort.PACKAGE, "vendor-agent")


def about(inventory):
    return [{h for h in inventory.hosts if e.is_about(inventory.hosts[h])}
            for e in inventory.accepted]  # fmt: skip


def test_an_entry_is_about_all_hosts_or_those_it_names(loaded):
    text = (
        "accepted:\n"
        "  - {kind: package, name: a, reason: x}\n"
        "  - {kind: package, name: b, reason: x, host: web1}\n"
        "  - {kind: package, name: c, reason: x, persona: web}\n"
        "  - {kind: package, name: d, reason: x, persona: shop}\n"
    )
    inventory = loaded(files(**{"accepted.yaml": text}))
    assert about(inventory) == [{"web1", "shop1"}, {"web1"}, {"web1", "shop1"}, {"shop1"}]


def test_beside_a_persona_it_is_about_the_hosts_of_that_persona_and_its_heirs(loaded):
    text = "accepted:\n  - {kind: package, name: vendor-*, reason: x}\n"
    shop = loaded(files(**{"personas/shop/accepted.yaml": text}))
    web = loaded(files(**{"personas/web/accepted.yaml": text}))
    assert about(shop) == [{"shop1"}]
    assert {"web1", "shop1"} in about(web)
    assert shop.accepted[0].where == "personas/shop/accepted.yaml:2:5"


def test_an_entry_matches_its_sort_and_pattern_only(loaded):
    text = "accepted:\n  - {kind: package, name: vendor-*, reason: x}\n"
    (entry,) = loaded(files(**{"accepted.yaml": text})).accepted
    assert entry.matches(THING)
    assert not entry.matches(Undeclared(Sort.FILE, "vendor-agent"))
    assert not entry.matches(Undeclared(Sort.PACKAGE, "agent"))
    assert entry.is_about(Host("any", "any", "box"))
