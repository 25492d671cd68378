"""A new lab is valid as it stands, and never lands on something else."""

import re
import subprocess
import sys

import pytest
import yaml

from lab import Lab
from lab.cli import main
from lab.starter import newlab


def init(*words):
    return main.run(["init", *map(str, words)])


def test_a_new_lab_is_valid_and_its_schemas_stand_beside_it(tmp_path, capsys):
    assert init(tmp_path / "My Lab") == 0
    root = tmp_path / "My Lab"
    with Lab.load(root) as lab:
        assert lab.name == "my-lab"
        assert list(lab.inventory.hosts) == ["web1"]
    assert main.run(["validate", "-C", str(root)]) == 0
    for path in root.glob("*/*.yaml"):
        first = path.read_text().splitlines()[0]
        assert first.startswith("# yaml-language-server: $schema=")
        assert (path.parent / first.partition("=")[2]).is_file()


def test_its_hook_is_on_and_refuses_a_commit_with_a_mistake(tmp_path, capsys):
    init(tmp_path / "home")
    root = tmp_path / "home"
    git = ["git", "-C", str(root), "-c", "user.name=me", "-c", "user.email=me@example.org"]
    hook = root / ".githooks/pre-commit"
    assert hook.stat().st_mode & 0o111
    lab = tmp_path / "bin/lab"
    lab.parent.mkdir()
    lab.write_text(f'#!/bin/sh\nexec {sys.executable} -m lab.cli "$@"\n')
    lab.chmod(0o755)
    env = {"PATH": f"{lab.parent}:/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True, env=env)
    path = root / "personas/web.yaml"
    path.write_text(path.read_text().replace("packages:", "packges:"))
    done = subprocess.run(
        [*git, "commit", "-qam", "bad"], env=env, check=False, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "did you mean 'packages'?" in done.stderr


@pytest.mark.parametrize("name", [*newlab.FILES, ".schemas/lab.schema.json"])
def test_no_file_that_is_there_is_touched(tmp_path, capsys, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    assert init(tmp_path, "--name", "home") == 1
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]
    assert path.read_text() == "mine"


def test_other_files_in_the_folder_stay(tmp_path, capsys):
    (tmp_path / "README.md").write_text("mine")
    assert init(tmp_path, "--name", "home") == 0
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_repository_that_is_there_is_used_and_its_hooks_are_left_alone(tmp_path, capsys):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert init(tmp_path, "--name", "home") == 0
    assert "core.hooksPath" in capsys.readouterr().err
    done = subprocess.run(
        ["git", "-C", str(tmp_path), "config", "core.hooksPath"], check=False, capture_output=True
    )
    assert done.stdout == b""


def test_a_name_that_cannot_be_one_is_told(tmp_path, capsys):
    assert init(tmp_path / "x", "--name", "No Name!") == 3
    assert not (tmp_path / "x").exists()


def test_the_workflow_is_yaml_and_plans_no_strangers_branch(tmp_path):
    text = newlab.contents("home")[".gitea/workflows/plan.yaml"]
    job = yaml.safe_load(text)["jobs"]["plan"]
    assert "head.repo.full_name == github.repository" in job["if"]
    assert "lab plan --against" in text


def test_its_just_has_every_word_of_an_operator(repository):
    """Whatever the project's own list offers before it turns to developers."""
    ours = (repository / "justfile").read_text().partition("\ndemo:")[0]
    given = newlab.contents("home")["justfile"]
    words = re.findall(r"^([a-z]+) \*args:\n    @(lab .*)$", ours, re.MULTILINE)
    assert len(words) > 15
    assert [(w, does) for w, does in words if f"\n{w} *args:\n    @{does}\n" not in given] == []
