"""Which templates there are, who is behind, promoting and pruning: on a store of small files."""

from types import SimpleNamespace

import pytest

from lab import Approval, Lab
from lab.api.saved import plans_of
from lab.errors import ConfigError, LabError, Locked, PlanError
from lab.journal import locked
from lab.layer import silent
from lab.model.baseline import Baseline
from layers.l1_image.drivers.debian.store import Images
from layers.l1_image.spec import Definition

FILES = {
    "lab.yaml": "name: shelf\nproviders:\n  box: {kind: qemu}\n  sand: {kind: docker}\n",
    "personas/web.yaml": "image:\n  base: debian-13\n  packages: [jq]\n"
    "machine: {memory: 1GiB, disks: {root: {size: 8GiB}}}\n",
    "personas/tin.yaml": "image: {base: debian-13}\n"
    "machine: {memory: 1GiB, disks: {root: {size: 8GiB}}}\n",
    "inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: box}\n"
    "  web2: {persona: web, provider: box}\n  tin1: {persona: tin, provider: sand}\n",
}
OLD = "debian-13-00000000000a"


@pytest.fixture
def root(lab_dir):
    return lab_dir(FILES)


@pytest.fixture
def lab(root):
    with Lab.load(root) as loaded:
        yield loaded


def put(lab, name, users=(), packages=None, captured="", size=b"disk", **definition):
    """A template that was made from ``definition``, in the lab's own store."""
    images = Images(lab.workspace)
    made = {"recipe": 1, "architecture": "x86_64", "base": "debian-13", **definition}
    named = SimpleNamespace(name=name, definition=Definition(**made))
    with images.building(name, silent, 5) as folder:
        (folder / "disk.qcow2").write_bytes(size)
        baseline = Baseline(complete=packages is not None, packages=packages or {})
        images.place(named, folder, baseline, captured=captured)
    for host in users:
        (images.folder / name / "users").mkdir(exist_ok=True)
        (images.folder / name / "users" / host).touch()


def own(lab):
    return lab.images.standing(lab.select("host=web1"))[0].own


def test_nothing_is_there_and_nobody_is_behind(lab):
    assert lab.images.listing() == ()
    found = lab.images.standing(lab.select("persona=web"))
    assert [(f.host, f.lies_on, f.behind, f.built) for f in found] == [
        ("web1", None, False, False),
        ("web2", None, False, False),
    ]


def test_who_is_behind_and_what_differs(lab):
    put(lab, OLD, ["web1"], {"openssl": "3.5.1", "vim": "9", "jq": "1.7"})
    put(lab, own(lab), ["web2"], {"openssl": "3.5.4", "curl": "8", "jq": "1.7"})
    first, second = lab.images.standing(lab.select("persona=web"))
    assert (first.behind, second.behind) == (True, False)
    assert [(p.name, p.before, p.after) for p in first.packages] == [
        ("curl", None, "8"),
        ("openssl", "3.5.1", "3.5.4"),
        ("vim", "9", None),
    ]
    assert second.packages == ()


def test_the_definition_tells_what_differs_before_anything_is_built(lab):
    put(lab, OLD, ["web1"])
    (one,) = lab.images.standing(lab.select("host=web1"))
    assert [(f.field, f.before, f.after) for f in one.fields] == [("packages", [], ["jq"])]


def test_a_captured_template_has_no_definition_to_compare(lab, root):
    put(lab, OLD, ["web1"], {"jq": "1.7"})
    put(lab, "web-0123456789ab", packages={"jq": "1.8"}, captured="web1@1a2b3c4d")
    lab.images.promote(["web"], "web-0123456789ab")
    with Lab.load(root) as after:
        (one,) = after.images.standing(after.select("host=web1"))
    assert (one.behind, one.captured, one.fields) == (True, "web1@1a2b3c4d", ())
    assert [(p.name, p.before, p.after) for p in one.packages] == [("jq", "1.7", "1.8")]


def test_promoting_writes_one_file_that_the_next_plan_reads(lab, root):
    put(lab, OLD, ["web1"])
    (done,) = lab.images.promote(["web"], OLD)
    assert (done.before, done.after, done.behind) == (None, OLD, ())
    assert (root / "promoted.yaml").read_text().endswith(f"web:\n  image: {{template: {OLD}}}\n")
    with Lab.load(root) as after:
        shown = {s.path: s for s in after.show("web1")}
        assert shown["image.template"].where.startswith("promoted.yaml:4:")
        (one,) = after.images.standing(after.select("host=web1"))
        assert (one.wanted, one.promoted, one.behind) == (OLD, True, False)
        assert one.own != OLD
        (listed,) = after.images.listing()
        assert (listed.promoted, listed.wanted) == (("web",), ("web1", "web2"))
        report = after.plan("host=web1", layer="l1")
        assert report.changes == 0


def test_what_the_definition_comes_to_is_promoted_without_a_name(lab, root):
    put(lab, OLD, ["web1"])
    (done,) = lab.images.promote(["web"])
    assert (done.after, done.behind) == (own(lab), ("web1",))
    with Lab.load(root) as after:
        assert after.images.standing(after.select("host=web1"))[0].behind


def test_where_it_came_from_is_kept_with_it(lab, root):
    put(lab, "web-0123456789ab", captured="web1@1a2b3c4d")
    lab.images.promote(["web"], "web-0123456789ab")
    assert "captured: web1@1a2b3c4d" in (root / "promoted.yaml").read_text().replace('"', "")


def test_taking_it_back_leaves_no_file(lab, root):
    put(lab, OLD)
    lab.images.promote(["web"], OLD)
    with Lab.load(root) as after:
        (done,) = after.images.withdraw(["web"])
        assert (done.before, done.after) == (OLD, None)
    assert not (root / "promoted.yaml").exists()
    with Lab.load(root) as again, pytest.raises(PlanError, match="nothing is"):
        again.images.withdraw(["web"])


def test_what_else_stands_in_the_file_stays(lab, root):
    put(lab, OLD)
    (root / "promoted.yaml").write_text("tin:\n  machine: {memory: 2GiB}\n")
    lab.images.promote(["web"], OLD)
    with Lab.load(root) as after:
        after.images.withdraw(["web"])
    assert "machine: {memory: " in (root / "promoted.yaml").read_text()


@pytest.mark.parametrize(
    ("personas", "template", "kind", "said"),
    [
        (["web"], "web-ffffffffffff", LabError, f"it is not here \\({OLD}\\)"),
        (["wev"], None, ConfigError, "unknown persona 'wev'"),
        (["tin"], None, PlanError, "containers follow their definition"),
    ],
)
def test_what_cannot_be_promoted_is_refused_and_nothing_written(
    personas, template, kind, said, lab, root
):
    put(lab, OLD)
    with pytest.raises(kind, match=said):
        lab.images.promote(personas, template)
    assert not (root / "promoted.yaml").exists()


def test_a_file_that_the_lab_cannot_be_loaded_with_is_put_back(lab, root):
    put(lab, OLD)
    before = "# mine\nnobody: {image: {template: x}}\n"
    (root / "promoted.yaml").write_text(before)
    with pytest.raises(ConfigError, match="unknown persona 'nobody'"):
        lab.images.promote(["web"], OLD)
    assert (root / "promoted.yaml").read_text() == before


def test_two_at_once_do_not_write_over_each_other(lab, root):
    put(lab, OLD)
    with locked(lab.workspace.state / "locks", ["_promoted"], "promote"), pytest.raises(Locked):
        lab.images.promote(["web"], OLD)
    assert not (root / "promoted.yaml").exists()


def test_pruning_takes_what_nobody_uses_captured_ones_too_and_nothing_else(lab, root):
    put(lab, OLD)
    put(lab, "debian-13-00000000000b", ["web1"])
    put(lab, "web-0123456789ab", captured="web1@1a2b3c4d")
    put(lab, "web-fedcba987654", captured="web1@5e6f7a8b")
    lab.images.promote(["web"], "web-fedcba987654")
    with Lab.load(root) as after:
        plan = after.images.plan_prune()
        gone = [c.what for p in plan.parts for c in p.plan.changes]
        assert gone == [f"template {OLD}", "template web-0123456789ab"]
        assert len(after.images.listing()) == 4
        approved = Approval(only=plans_of(plan))
        put(after, "debian-13-00000000000c")  # since the plan was made: not approved
        report = after.images.prune(approved)
        assert report.exit_code == 0
        left = [one.template.name for one in after.images.listing()]
        assert left == ["debian-13-00000000000b", "debian-13-00000000000c", "web-fedcba987654"]
        assert after.history(1)[0].verb == "prune"


def test_a_converge_leaves_what_was_captured(lab):
    put(lab, "web-0123456789ab", captured="web1@1a2b3c4d")
    plan = lab.plan("persona=web", layer="l1")
    assert not [c for p in plan.parts for c in p.plan.changes if c.action == "delete"]


def test_where_templates_do_not_know_their_users_the_machines_are_asked(root):
    (root / "lab.yaml").write_text(FILES["lab.yaml"].replace("kind: qemu", "kind: memory"))
    with Lab.load(root) as lab:
        assert lab.converge("persona=web", layer="l2").exit_code == 0
        first = lab.images.standing(lab.select("host=web1"))[0]
        assert (first.lies_on, first.behind) == (first.wanted, False)
    web = root / "personas/web.yaml"
    web.write_text(web.read_text().replace("[jq]", "[jq, vim]"))
    with Lab.load(root) as lab:
        after = lab.images.standing(lab.select("host=web1"))[0]
        assert (after.lies_on, after.behind) == (first.wanted, True)
