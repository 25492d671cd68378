"""Two at once, and killed in the middle: one works, the other says who; the next run resumes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from lab.gitops.store import State

POINTS = [
    "engine.before_own",
    "engine.l2_instantiate.after_apply",
    "engine.l3_system.before_apply",
    "engine.l3_system.after_apply@2",
    "engine.before_remember",
]


def clean(text):
    return " ".join(text.replace("remote:", "").split())


def started(clone, *words):
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "lab.cli", *words],
        env=clone.env,
        cwd=clone.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_of_two_at_once_one_works_and_the_other_says_who(lab):
    follower = lab.follower()
    with follower.turn():
        second = started(lab, "gitops", "run")
        said = second.stdout.readline()
        assert f"(process {os.getpid()}, since " in said
        assert said.startswith("Waits: ")
        assert second.poll() is None
    assert second.wait(60) == 0
    second.stdout.close()
    assert follower.holder() is None


def test_a_push_while_another_commit_is_dealt_with_says_who_and_that_it_is_next(lab):
    follower = lab.follower()
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    lab.commit()
    with follower.turn():
        push = subprocess.Popen(
            ["git", "push", str(lab.bare), "main"],
            env=lab.env, cwd=lab.root, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        lines = iter(push.stderr.readline, "")
        said = next(line for line in lines if f"process {os.getpid()}" in line)
        assert said.startswith("remote: ")
        assert "This commit is next." in clean(said + next(lines))
    rest = push.stderr.read()
    push.stderr.close()
    assert push.wait(60) == 0
    assert "Applied: 2 changes made on web1, web2." in rest


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_run_that_is_killed_is_resumed_by_the_next(clone, point):
    clone.commit("first")
    clone.install("--mode", "ask")
    clone.push()
    clone.install("--mode", "apply")
    killed = clone.lab("gitops", "run", ok=None, STRATA_FAULT=point)
    assert killed.returncode == -signal.SIGKILL
    assert clone.newest().state is State.RUNNING
    assert clone.follower().holder() is None  # the lock died with it
    before = time.monotonic()
    clone.lab("gitops", "run")
    assert time.monotonic() - before < 30
    assert clone.newest().state is State.APPLIED
    assert clone.packages("web2") == {"curl"}
    head = clone.newest().commit[:12]
    hosts = json.loads(clone.lab("gitops", "status", "--json").stdout)["hosts"]
    assert {h: s["commit"] for h, s in hosts.items()} == dict.fromkeys(
        ["web1", "web2", "db1"], head
    )
    assert "Touches no host" in clone.pushed("nothing").said
