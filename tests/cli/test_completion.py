"""TAB: commands, flags, layers, selectors and the names of the lab, in a real bash."""

import shutil
import subprocess
import sys

import click
import pytest

from lab.cli import names
from lab.cli.main import cli

HOSTS = """
hosts:
  web1: {persona: web, provider: box, tags: [edge, house]}
  web2: {persona: web, provider: box}
  db1:  {persona: database, provider: pve, token: !secret x}
"""


@pytest.fixture
def lab_folder(tmp_path, monkeypatch):
    (tmp_path / "lab.yaml").write_text("name: demo\nproviders: {box: {kind: qemu}, pve: {}}\n")
    for folder in ("personas", "inventory"):
        (tmp_path / folder).mkdir()
    for persona in ("web", "database"):
        (tmp_path / f"personas/{persona}.yaml").write_text("purpose: x\n")
    (tmp_path / "inventory/hosts.yaml").write_text(HOSTS)
    below = tmp_path / "personas/web"
    below.mkdir()
    monkeypatch.chdir(below)
    return tmp_path


@pytest.mark.parametrize(
    ("word", "offered"),
    [
        ("ho", ["host="]),
        ("host=", ["host=web1", "host=web2", "host=db1"]),
        ("host=w", ["host=web1", "host=web2"]),
        ("tag=", ["tag=edge", "tag=house"]),
        ("persona=d", ["persona=database"]),
        ("provider=", ["provider=box", "provider=pve"]),
        ("host=web1,per", ["host=web1,persona="]),
        ("host=web1,host=d", ["host=web1,host=db1"]),
        ("nonsense=", []),
    ],
)
def test_words(lab_folder, word, offered):
    assert list(names.completions(word, None)) == offered


def test_layers_are_offered_where_a_word_may_be_one():
    assert [w for w in names.completions("l", None) if "=" not in w] == names.layers()


@pytest.mark.parametrize("text", ["", "hosts: [", "hosts: 3", "hosts: {a: {tags: 5}}", "\x00"])
def test_broken_files_complete_to_nothing_silently(lab_folder, text):
    (lab_folder / "inventory/hosts.yaml").write_text(text)
    assert not list(names.completions("tag=", None))


def test_outside_a_lab_there_is_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(names.completions("host=", None)) == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("lab pl", {"plan"}),
        ("lab co", {"converge", "completion"}),
        ("lab converge --allow", {"--allow-destroy"}),
        ("lab converge host=we", {"web1", "web2"}),
        ("lab converge l3 persona=", {"web", "database"}),
        ("lab converge ta", {"tag="}),
        ("lab show d", {"db1"}),
        ("lab completion f", {"fish"}),
        ("lab plan --color a", {"auto", "always"}),
    ],
)
def test_in_bash(lab_folder, tmp_path, typed, offered):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "lab").write_text(f'#!/bin/sh\nexec {sys.executable} -m lab.cli "$@"\n')
    (bin_folder / "lab").chmod(0o755)
    script = f"""
        PATH={bin_folder}:$PATH
        compopt() {{ :; }}
        eval "$(lab completion bash)"
        COMP_LINE='{typed}' COMP_POINT={len(typed)}
        _lab_completion lab
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script(run, shell):
    script = run("completion", shell).out
    assert "_LAB_COMPLETE" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_every_command_can_be_completed(lab_folder):
    assert {item.value for item in cli.shell_complete(click.Context(cli), "")} >= set(cli.table)
