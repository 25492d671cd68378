"""lab show RUN, lab diff, lab explain host=x PATH: what a person sees of real runs."""

import contextlib
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from lab.cli import main

LAB = [sys.executable, "-m", "lab.cli"]
FILES = {
    "lab.yaml": "name: past\nproviders:\n  box: {kind: memory}\n",
    "personas/base.yaml": "system:\n  packages: [vim]\n  files: {/etc/motd: {content: base}}\n"
    "machine: {cpu: 3}\n",
    "personas/web.yaml": """extends: [base]
image: {base: debian-13}
machine:
  cpu: 1
  memory: 1GiB
  disks: {root: {size: 8GiB}}
system:
  packages: [curl]
  files: {/etc/motd: {content: hello}}
""",
    "inventory/hosts.yaml": "hosts:\n"
    "  web1: {persona: web, provider: box, machine: {memory: 2GiB}}\n"
    "  web2: {persona: web, provider: box}\n",
}
GIT = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.org"]


def lab(root, *words, code=0):
    """In this process: what it printed, on stdout where it went well."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(root), redirect_stdout(out), redirect_stderr(err):
        assert main.run(words) == code, out.getvalue() + err.getvalue()
    return err.getvalue() if code == 3 else out.getvalue()


def killed(root, *words, fault):
    env = {**os.environ, "STRATA_FAULT": fault}
    done = subprocess.run([*LAB, *words], cwd=root, env=env, capture_output=True, check=False)
    assert done.returncode == -9


def commit(root, subject):
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    subprocess.run([*GIT, "commit", "-qm", subject], cwd=root, check=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A lab with three commits: a whole run, one that was cut off, one after an edit."""
    root = tmp_path_factory.mktemp("past")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("past-state")))
        for name, text in FILES.items():
            path = root / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        subprocess.run(["git", "init", "-q", root], check=True)
        commit(root, "first words")
        lab(root, "converge", "--yes", "--quiet")
        (root / "personas/web.yaml").write_text(
            FILES["personas/web.yaml"].replace("hello", "goodbye")
        )
        commit(root, "say goodbye")
        words = ("converge", "l3", "host=web1", "--through", "--yes", "--quiet")
        killed(root, *words, fault="engine.l3_system.before_apply")
        lab(root, *words)
        yield root, os.environ["XDG_STATE_HOME"]


@pytest.fixture(autouse=True)
def _its_state(root, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", root[1])
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def past(root):
    return root[0]


def runs(past):
    return json.loads(lab(past, "history", "--json"))["runs"]


def test_history_prints_the_ids_that_show_takes(past):
    ids = [line.split()[0] for line in lab(past, "history").splitlines()[1:]]
    assert [r["run"].endswith(i) for r, i in zip(runs(past), ids, strict=True)] == [True] * 3
    for short, run in zip(ids, runs(past), strict=True):
        assert lab(past, "show", short) == lab(past, "show", run["run"])


def test_a_run_is_told_in_full(past):
    text = lab(past, "show", "last")
    for part in ("converge  done", "asked    layer l3, through", "commit ", "plan ", "command  ",
                 "web1", "~ file /etc/motd", "content:", "done, "):  # fmt: skip
        assert part in text, text
    document = json.loads(lab(past, "show", "last", "--json"))
    assert document["schema"] == "lab.run/1"
    assert document["parameters"] == {"layer": "l3", "through": True}
    assert len(document["plan"]) == 16
    assert len(document["commit"]) == 12
    change = document["changes"][0]
    assert (change["host"], change["ok"]) == ("web1", True)
    assert change["change"]["fields"][0]["field"] == "content"


def test_a_run_that_was_cut_off_says_so_and_where(past):
    text = lab(past, "show", "last~1")
    assert "converge  cut off" in text
    assert "l3 system  cut off" in text
    assert "unknown" in text
    assert "the same command again finishes the job" in text.replace("\n", " ")
    assert json.loads(lab(past, "show", "last~1", "--json"))["changes"][-1]["ok"] is None


def test_a_hosts_name_wins_and_run_says_what_is_meant(past):
    assert "machine.cpu" in lab(past, "show", "web1")
    assert "machine.cpu" in lab(past, "show", "host=web1")
    assert lab(past, "show", "run=last") == lab(past, "show", "last")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("web9", "no host"),
        ("20", "fits several runs"),
        ("abc999", "there is no run 'abc999'"),
        ("last~9", "there is no run 'last~9'"),
        ("run=%", "there is no run '%'"),
        ("wbe1", "no host"),
    ],
)
def test_a_wrong_run_is_told_in_plain_words(past, word, said):
    assert said in lab(past, "show", word, code=3)


def test_two_runs_are_compared(past):
    text = lab(past, "diff", "last~2", "last", code=2)
    for part in ("say goodbye (Ann)", "hosts - web2", "asked: layer: none → l3",
                 "Only the second made:", "~ file /etc/motd", "They differ."):  # fmt: skip
        assert part in text, text
    document = json.loads(lab(past, "diff", "last~2", "last", "--json", code=2))
    assert document["schema"] == "lab.diff/1"
    assert document["hosts"] == [["web2"], []]
    assert [c["subject"] for c in document["commits"]] == ["say goodbye"]
    assert [c["change"] for c in document["changes"][1]] == ["~ file /etc/motd"]
    assert "They did the same." in lab(past, "diff", "last", "last")
    assert json.loads(lab(past, "diff", "last", "--json", code=2))["runs"][0]["result"] == "cut off"


def test_a_value_is_explained(past):
    text = lab(past, "explain", "host=web1", "machine.memory")
    lines = text.splitlines()
    assert lines[0] == "machine.memory of web1: 2GiB"
    assert "inventory/hosts.yaml:2" in lines[2]
    assert lines[2].endswith("host web1  counts")
    assert "Ann: first words" in lines[4]
    assert "personas/web.yaml:5" in lines[5]
    assert lines[5].endswith("persona web  overridden")
    assert "Last change that names it: " in text
    document = json.loads(lab(past, "explain", "host=web1", "machine.cpu", "--json"))
    assert [s["role"] for s in document["said"]] == ["counts", "overridden"]
    assert [s["source"] for s in document["said"]] == ["persona web", "persona base"]


def test_keys_with_dots_lists_and_whole_sections_are_explained(past):
    text = lab(past, "explain", "host=web1", "system.files./etc/motd.content")
    assert "Ann: say goodbye" in text
    assert f"run {runs(past)[0]['run'][-6:]}" in text
    lists = lab(past, "explain", "host=web1", "system.packages")
    assert "[vim, curl]" in lists
    assert "persona base  adds" in lists
    item = lab(past, "explain", "host=web1", "system.packages.0")
    assert "personas/base.yaml:2" in item
    assert "+ package vim" in item
    assert "persona web" in lab(past, "explain", "host=web1", "machine")


def test_a_wrong_path_is_told_the_nearest(past):
    assert "machine.memory" in lab(past, "explain", "host=web1", "machine.memry", code=3)
    assert "say which value" in lab(past, "explain", "host=web1", code=3)
    assert "needs its host" in lab(past, "explain", "web1", "machine", code=3)


def test_what_is_not_committed_is_told(past):
    path = past / "inventory/hosts.yaml"
    before = path.read_text()
    path.write_text(before.replace("2GiB", "3GiB"))
    try:
        assert "not committed" in lab(past, "explain", "host=web1", "machine.memory")
    finally:
        path.write_text(before)


def complete(past, line):
    env = {**os.environ, "_LAB_COMPLETE": "bash_complete", "LAB_LINE": line}
    code = "from lab.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=past, env=env, capture_output=True, text=True, check=False
    )
    return [word.partition(",")[2] for word in done.stdout.splitlines()]


def test_runs_hosts_and_paths_are_completed(past):
    short = runs(past)[0]["run"][-6:]
    assert complete(past, "lab diff last ") == ["last", *(r["run"][-6:] for r in runs(past))]
    assert complete(past, f"lab show {short[:4]}") == [short]
    assert complete(past, "lab show ")[:2] == ["web1", "web2"]
    assert complete(past, "lab explain host=w") == ["host=web1", "host=web2"]
    assert "machine" in complete(past, "lab explain host=web1 ")
    memory = complete(past, "lab explain host=web1 machine.m")
    assert memory == ["machine.memory"]
