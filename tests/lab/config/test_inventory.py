"""What a good lab becomes: merged, placed, parts shared between equal hosts."""

from lab.config.merge import merge
from lab.config.tree import parse


def tree(text):
    node, problems = parse(text, "f.yaml")
    assert not problems
    return node


def test_overlay_beats_persona_beats_what_it_extends(loaded):
    inventory = loaded(
        {
            "personas/base.yaml": "box: {memory: 1GiB, colour: blue, tags: [a]}\n",
            "personas/web.yaml": "extends: [base]\nbox: {memory: 2GiB, tags: [b]}\n",
            "inventory/hosts.yaml": "hosts:\n"
            "  web1: {persona: web, provider: box, box: {memory: 3GiB}}\n"
            "  web2: {persona: web, provider: box}\n",
        }
    )
    box = inventory.hosts["web1"].parts["l0_box"][0].spec
    assert (box.memory, box.colour, box.tags) == (3 * 1024**3, "blue", ["a", "b"])
    assert inventory.hosts["web2"].parts["l0_box"][0].spec.memory == 2 * 1024**3


def test_every_value_says_where_it_was_written(loaded):
    inventory = loaded(
        {
            "personas/base.yaml": "box:\n  colour: blue\n",
            "personas/web.yaml": "extends: [base]\nbox:\n  memory: 2GiB\n",
        }
    )
    places = {".".join(p): str(n.place) for p, n in inventory.documents["web1"].walk()}
    assert places["box.colour"] == "personas/base.yaml:2:11"
    assert places["box.memory"] == "personas/web.yaml:3:11"
    assert places["provider"] == "inventory/hosts.yaml:2:34"


def test_equal_hosts_share_their_parts(loaded):
    hosts = "hosts:\n" + "".join(f"  h{i}: {{persona: web, provider: box}}\n" for i in range(3))
    found = loaded({"inventory/hosts.yaml": hosts}).hosts
    assert found["h0"].parts["l0_box"] is found["h2"].parts["l0_box"]


def test_a_file_is_found_beside_the_persona_that_names_it(loaded):
    inventory = loaded(
        {
            "personas/base.yaml": "box: {file: motd}\n",
            "personas/base/motd": "from base",
            "personas/web.yaml": "extends: [base]\n",
            "personas/web/motd": "from web",
        }
    )
    file = inventory.hosts["web1"].parts["l0_box"][0].spec.file
    assert (file.path, file.content) == ("personas/base/motd", b"from base")


def test_protect_is_not_inherited_away(loaded):
    inventory = loaded({"personas/web.yaml": "protect: true\n"})
    assert inventory.hosts["web1"].protect


def test_lists_append_override_replaces_reset_removes():
    base = tree("a: [1, 2]\nb: {x: 1, y: 2}\nc: 3\n")
    over = tree("a: [2, 4]\nb: !override {z: 1}\nc: !reset\n")
    assert merge(base, over).plain() == {"a": [1, 2, 4], "b": {"z": 1}}


def test_an_overlay_that_adds_nothing_is_the_base_itself():
    base = tree("a: 1\n")
    assert merge(base, tree("{}")) is base


def test_scalars_mean_what_they_look_like():
    text = 'a: 0644\nb: yes\nc: 22:22\nd: 1.5\ne: ~\nf: "1"\ng: true\nh: 1e3\ni: 12\nj: 0x10\n'
    assert tree(text).plain() == {
        "a": "0644",
        "b": "yes",
        "c": "22:22",
        "d": 1.5,
        "e": None,
        "f": "1",
        "g": True,
        "h": 1000.0,
        "i": 12,
        "j": "0x10",
    }


def test_merge_keys_of_yaml_work():
    assert tree("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n").plain()["b"] == {"y": 3, "x": 1}
