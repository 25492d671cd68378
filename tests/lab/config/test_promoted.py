"""What a command promoted is laid over the persona, and told at its own place."""

BASE = {
    "personas/base.yaml": "box: {memory: 1GiB}\n",
    "personas/web.yaml": "extends: [base]\nbox: {colour: blue}\n",
    "inventory/hosts.yaml": "hosts:\n"
    "  web1: {persona: web, provider: box}\n"
    "  web2: {persona: web, provider: box, box: {colour: white}}\n"
    "  base1: {persona: base, provider: box}\n",
}


def colours(inventory):
    return {h: inventory.hosts[h].parts["l0_box"][0].spec.colour for h in inventory.hosts}


def test_it_beats_the_persona_and_a_hosts_entry_beats_it(loaded):
    inventory = loaded({**BASE, "promoted.yaml": "web: {box: {colour: green}}\n"})
    assert colours(inventory) == {"web1": "green", "web2": "white", "base1": "red"}
    places = {".".join(p): str(n.place) for p, n in inventory.documents["web1"].walk()}
    assert places["box.colour"] == "promoted.yaml:1:21"


def test_personas_that_build_on_one_are_not_promoted_with_it(loaded):
    inventory = loaded({**BASE, "promoted.yaml": "base: {box: {memory: 2GiB}}\n"})
    box = {h: inventory.hosts[h].parts["l0_box"][0].spec for h in inventory.hosts}
    assert box["base1"].memory == 2 * box["web1"].memory


def test_every_mistake_is_told_at_its_place(wrong):
    text = "wev: {box: {}}\nweb:\n  bix: {}\n  box: {clour: 1}\nbase: [box]\n"
    assert wrong({**BASE, "promoted.yaml": text}) == [
        "promoted.yaml:1:1: unknown persona 'wev'; did you mean 'web'?",
        "promoted.yaml:3:3: unknown key 'bix'; did you mean 'box'?",
        "promoted.yaml:5:7: a mapping is expected here: image: {template: …}",
    ]


def test_what_it_says_is_validated_as_the_persona_is(wrong):
    (problem,) = wrong({**BASE, "promoted.yaml": "web: {box: {memory: nine}}\n"})
    assert problem.startswith("promoted.yaml:1:13: ")


def test_what_the_persona_does_not_have_cannot_be_promoted(wrong):
    files = {**BASE, "personas/plain.yaml": "purpose: nothing\n"}
    assert wrong({**files, "promoted.yaml": "plain: {box: {colour: red}}\n"}) == [
        "promoted.yaml:1:9: persona plain has no box: take this out"
    ]
