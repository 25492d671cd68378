"""``lab image …`` as it is typed: words, exit codes, JSON, and what stands on the screen."""

import json
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.cli import main
from lab.layer import silent
from lab.model.baseline import Baseline
from layers.l1_image.drivers.debian.store import Images
from layers.l1_image.spec import Definition

OLD, NEW = "debian-13-00000000000a", "debian-13-00000000000b"


@pytest.fixture
def root(lab_dir):
    folder = lab_dir(
        {
            "lab.yaml": "name: shelf\nproviders: {box: {kind: qemu}}\n",
            "personas/web.yaml": "image: {base: debian-13}\n"
            "machine: {memory: 1GiB, disks: {root: {size: 8GiB}}}\n",
            "inventory/hosts.yaml": "hosts: {web1: {persona: web, provider: box}}\n",
        }
    )
    with Lab.load(folder) as lab:
        images = Images(lab.workspace)
        for name, version in ((OLD, "3.5.1"), (NEW, "3.5.4")):
            made = Definition(recipe=1, architecture="x86_64", base="debian-13")
            packages = {f"p{i}": version for i in range(5)}
            with images.building(name, silent, 5) as built:
                (built / "disk.qcow2").write_bytes(b"disk")
                found = Baseline(complete=True, packages=packages)
                images.place(SimpleNamespace(name=name, definition=made), built, found)
        (images.folder / OLD / "users").mkdir()
        (images.folder / OLD / "users/web1").touch()
    return folder


@pytest.fixture
def typed(root, capsys):
    def run(*words):
        code = main.run(["image", *words, "--lab", str(root)])
        said = capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return run


def test_promoted_behind_told_and_pruned(typed, root):
    assert typed("status").code == 2
    done = typed("promote", NEW, "persona=web")
    assert done.code == 0
    assert f"new machines of web get {NEW}" in done.out
    assert "web1 stays on another template until lab rebuild host=web1" in done.out
    assert "git add promoted.yaml" in done.err
    told = typed("status")
    assert told.code == 2
    assert f"behind: made from {OLD}, would be from {NEW} (promoted)" in told.out
    assert "5 packages: p0 3.5.1 → 3.5.4, p1 3.5.1 → 3.5.4, p2 3.5.1 → 3.5.4 and 2 more" in told.out
    assert "Try: lab rebuild host=web1" in told.err
    assert "p4 3.5.1 → 3.5.4" in typed("status", "-v").out
    listed = typed("list").out
    assert "promoted for web" in listed
    assert typed("prune", "--plan").code == 0  # one is used, the other one promoted
    assert typed("promote", "--undo", "persona=web").code == 0
    assert not (root / "promoted.yaml").exists()
    plan = typed("prune", "--plan")
    assert plan.code == 2
    assert f"template {NEW}" in plan.out
    assert typed("prune", "--no-input").code == 5
    assert typed("prune", "--yes").code == 0
    assert NEW not in typed("list").out


def test_json(typed):
    typed("promote", NEW, "persona=web")
    status = json.loads(typed("status", "--json").out)
    assert (status["schema"], status["exit_code"]) == ("lab.images.status/1", 2)
    (host,) = status["hosts"]
    assert (host["made_from"], host["wanted"], host["behind"]) == (OLD, NEW, True)
    assert host["packages"]["p0"] == {"before": "3.5.1", "after": "3.5.4"}
    listed = json.loads(typed("list", "--json").out)
    names = {t["name"]: (t["used_by"], t["promoted_for"]) for t in listed["templates"]}
    assert names == {OLD: (["web1"], []), NEW: ([], ["web"])}
    again = json.loads(typed("promote", OLD, "persona=web", "--json").out)
    assert again["promoted"][0]["before"] == NEW
    assert typed("prune", "--json").code == 5
    last = typed("prune", "--plan", "--json").out.splitlines()[-1]
    assert json.loads(last)["schema"] == "lab.report/1"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["promote"], "say for which persona: persona=NAME"),
        (["promote", "debian-13", "persona=web"], "neither a template (lab image list) nor"),
        (["promote", OLD, NEW, "persona=web"], "one template at a time"),
        (["promote", "host=web1"], "go with --from-capture"),
        (["promote", "--from-capture"], "--from-capture host=NAME"),
        (["promote", "--from-capture", "host=web1", "at=noon"], "'noon' is no time"),
        (["promote", "--from-capture", OLD, "host=web1"], "leave it out"),
        (["promote", "--undo", "--from-capture", "host=web1"], "contradict each other"),
        (["promote", "tag=x"], "tag= says nothing here"),
        (["promote", "persona=wev"], "unknown persona 'wev'"),
        (["promote", "debian-13-ffffffffffff", "persona=web"], "it is not here"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_plain_words(typed, root, words, said):
    done = typed(*words)
    assert done.code not in {0, 2}
    assert said in done.err
    assert "Traceback" not in done.err
    assert not (root / "promoted.yaml").exists()
