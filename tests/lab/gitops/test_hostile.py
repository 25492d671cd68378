"""S07, with git itself: hostile addresses, trees, links and submodules are refused or inert."""

import os
import subprocess
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.gitops.git import Repository, check_url

pytestmark = pytest.mark.slow

ADDRESSES = [
    "ext::sh -c touch% RAN",
    "ext::touch RAN",
    "EXT::touch RAN",
    "fd::0",
    "--upload-pack=touch RAN",
    "-u touch RAN",
    "ssh://-oProxyCommand=touch% RAN/x",
    "ssh://me@-oProxyCommand=touch% RAN/x",
    "-oProxyCommand=touch RAN:x",
    "me@-oProxyCommand=touch RAN:x",
    "file://x --upload-pack=touch RAN",
    "http::ext::touch RAN",
    "a::b",
    "/nowhere\n--upload-pack=touch RAN",
    "/nowhere\0",
]
NAMES = [".git", ".GIT", "..", ".", "a/b", "git~1"]


@pytest.fixture
def repository(clone):
    clone.commit("first")
    clone.git("init", "-q", "--bare", "-b", "main", str(clone.bare))
    clone.push()
    return Repository(clone.bare)


def untouched(folder):
    assert not list(Path(folder).rglob("RAN"))


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_hostile_address_is_refused_and_would_run_nothing(repository, tmp_path, address):
    address = address.replace("RAN", str(tmp_path / "RAN"))
    with pytest.raises(ValueError, match=r"\w"):
        check_url(address)
    with pytest.raises((LabError, ValueError)):
        repository.fetch(address, "main")  # also where nobody had checked it
    untouched(tmp_path)


@pytest.mark.parametrize("address", ["--upload-pack=touch RAN", "ext::touch RAN", "ssh://-oX/x"])
def test_the_command_refuses_it_before_anything_is_written(clone, tmp_path, address):
    clone.commit("first")
    done = clone.lab("gitops", "install", f"--poll={address}", ok=(3,))
    assert "Traceback" not in done.stderr
    assert not (Path(os.environ["XDG_STATE_HOME"]) / "strata/home/gitops").exists()
    untouched(tmp_path)


@pytest.mark.parametrize(
    "branch", ["--upload-pack=x", "-h", "main:other", "refs/../x", "@{-1}", "a b", "$(touch RAN)"]
)
def test_a_hostile_branch_is_no_option_and_no_command(lab, branch):
    done = lab.lab("try", "--", branch, "host=web1", ok=None)
    assert done.returncode in {1, 3}
    assert "Traceback" not in done.stderr
    untouched(lab.base)


def tree(clone, *entries):
    """The commit of a tree that git itself would not make."""
    body = b"".join(
        f"{mode} {name}".encode() + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries
    )
    argv = ["git", "hash-object", "-t", "tree", "-w", "--stdin", "--literally"]
    made = subprocess.run(argv, cwd=clone.root, input=body, capture_output=True, check=True)
    oid = made.stdout.decode().strip()
    commit = clone.git("commit-tree", oid, "-m", "hostile").stdout.strip()
    packed = subprocess.run(
        ["git", "pack-objects", "--revs", "--stdout", "-q"],
        cwd=clone.root, input=f"{commit}\n".encode(), capture_output=True, check=True,
    )  # fmt: skip
    subprocess.run(
        ["git", "--git-dir", str(clone.bare), "unpack-objects", "-q"],
        input=packed.stdout, check=True, capture_output=True,
    )  # fmt: skip
    return commit


def blob(clone, text):
    argv = ["git", "hash-object", "-w", "--stdin"]
    made = subprocess.run(
        argv, cwd=clone.root, input=text.encode(), capture_output=True, check=True
    )
    return made.stdout.decode().strip()


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_with_a_name_that_is_none_writes_nothing_outside(clone, repository, tmp_path, name):
    content = blob(clone, "[core]\n\tfsmonitor = touch RAN\n")
    inner = subprocess.run(
        ["git", "mktree"], cwd=clone.root, input=f"100644 blob {content}\tconfig\n",
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    commit = tree(clone, ("40000", name, inner))
    target = tmp_path / "deep/er/out"
    with_file = sorted(p for p in tmp_path.rglob("*") if "deep" not in p.parts)
    try:
        repository.export(commit, target)
    except LabError:
        pass
    else:
        assert all(p.resolve().is_relative_to(target) for p in target.rglob("*"))
        assert not (target / ".git/config").exists()
    outside = [p for p in (tmp_path / "deep").rglob("config") if not p.is_relative_to(target)]
    assert outside == []
    assert sorted(p for p in tmp_path.rglob("*") if "deep" not in p.parts) == with_file


def test_a_link_and_a_folder_of_the_same_name_lead_nowhere(clone, repository, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    content, link = blob(clone, "evil\n"), blob(clone, str(outside))
    inner = subprocess.run(
        ["git", "mktree"], cwd=clone.root, input=f"100644 blob {content}\tx\n",
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    commit = tree(clone, ("120000", "a", link), ("40000", "a", inner))
    target = tmp_path / "out"
    try:
        repository.export(commit, target)
    except LabError:
        pass  # which of the two wins is git's matter
    else:
        assert all(p.resolve().is_relative_to(target) for p in target.rglob("*"))
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", ["secrets", "personas", "inventory", "personas/web", "lab.yaml"])
def test_a_part_of_the_lab_that_is_a_link_out_of_it_is_refused(lab, tmp_path, name):
    outside = tmp_path / "elsewhere"
    lab.git("rm", "-rq", "--ignore-unmatch", name)
    path = lab.root / name
    outside.mkdir()
    (outside / "hosts.yaml").write_text("hosts: {evil: {persona: db, provider: box}}\n")
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(outside if name != "lab.yaml" else outside / "hosts.yaml")
    shown = lab.pushed(ok=(1,))
    assert f"{name}:1:1: is a link that leads out of the lab" in shown.said
    assert lab.machines() == ["db1", "web1", "web2"]


@pytest.mark.parametrize(
    "url", ["ext::touch RAN", "--upload-pack=touch RAN", "/nowhere", "file:///etc"]
)
def test_a_submodule_stays_an_empty_folder_whatever_its_address(lab, url):
    lab.write(".gitmodules", f'[submodule "x"]\n\tpath = x\n\turl = {url}\n\tupdate = !touch RAN\n')
    head = lab.git("rev-parse", "HEAD").stdout.strip()
    lab.git("update-index", "--add", "--cacheinfo", f"160000,{head},x")
    lab.git("add", ".gitmodules")
    lab.git("commit", "-qm", "a submodule")
    shown = lab.push()
    assert "Touches no host; 3 others as before." in shown.said
    untouched(lab.base)
    checkouts = Path(os.environ["XDG_STATE_HOME"], "strata/home/gitops/checkouts")
    assert [list(p.iterdir()) for p in checkouts.glob("*/x")] == [[]]
