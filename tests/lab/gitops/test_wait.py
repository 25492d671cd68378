"""`lab wait`: what became of a commit, as words, as JSON and as an exit code."""

import json
import subprocess
import sys

import pytest

from lab.cli import waiting
from lab.cli.options import Settings
from lab.errors import LabError
from lab.gitops.store import State

pytestmark = pytest.mark.slow


def waited(clone, sha, *words, code=0):
    done = clone.lab("wait", sha, *words, ok=(code,))
    return done.stdout + done.stderr


def test_an_applied_commit_is_told_at_once_by_its_beginning_and_by_name(lab):
    head = lab.git("rev-parse", "HEAD").stdout.strip()
    assert f"{head[:12]} applied: " in waited(lab, "HEAD")
    assert waited(lab, head[:7]) == waited(lab, head)
    said = json.loads(lab.lab("wait", "main", "--json").stdout)
    assert (said["schema"], said["commit"], said["state"]) == ("lab.wait/1", head, "applied")
    assert said["hosts"] == ["web1", "web2", "db1"]


def test_a_commit_that_changes_nothing_is_done_too(lab):
    lab.pushed("nothing")
    assert "unchanged: it touches no host" in waited(lab, "HEAD")


def test_what_waits_for_approval_is_pending_and_names_the_command(lab):
    lab.install("--mode", "ask")
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    lab.pushed()
    assert f"Try: lab approve {lab.newest().id}" in waited(lab, "HEAD", code=2)
    waiting_one = lab.newest().commit
    lab.edit("personas/web.yaml", "htop", "vim")
    lab.pushed()
    said = waited(lab, waiting_one, code=5)
    assert f"superseded by {lab.newest().commit[:12]}" in said
    assert f"Try: lab wait {lab.newest().commit[:12]}" in said


def test_a_commit_that_was_turned_away_at_the_door_is_known(lab):
    lab.edit("personas/web.yaml", "packages:", "packges:")
    lab.pushed(ok=(1,))
    assert "refused" in waited(lab, "HEAD", code=3)
    lab.edit("personas/web.yaml", "packges:", "packages:")
    lab.pushed()
    assert "unchanged" in waited(lab, "HEAD")


def test_a_commit_that_never_comes_is_given_up(lab):
    lab.commit("not pushed")
    assert "did not arrive within 1s" in waited(lab, "HEAD", "--for", "1s", code=4)
    said = lab.lab("wait", "HEAD", "--for", "1s", "--json", ok=(4,)).stdout
    assert json.loads(said)["state"] == "unknown"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["no-such-branch"], 3, "is no commit of this folder's repository"),
        (["HEAD", "--for", "soon"], 2, "not a duration"),
        (["--upload-pack=x"], 2, "there is no option '--upload-pack'"),
        (["HEAD", "--name", "other"], 1, "nothing was installed for the lab other"),
    ],
)
def test_what_makes_no_sense_is_told(lab, words, code, said):
    assert said in lab.lab("wait", *words, ok=None).stderr


def test_it_waits_for_a_run_that_goes_on(lab):
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    commit = lab.commit()
    follower = lab.follower()
    with follower.turn():
        argv = [sys.executable, "-P", "-m", "lab.cli", "wait", commit, "--name", "home"]
        process = subprocess.Popen(
            argv, env=lab.env, cwd=lab.base, stdout=subprocess.PIPE, text=True
        )
        lab.git("push", "-q", str(lab.bare), "main:refs/heads/aside")
        number = follower.receive(commit, None, "me")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        follower.store.end(number, State.FAILED, ("web1",), "web1 did not get through")
        assert process.wait(20) == 1
        assert "failed: web1 did not get through" in process.stdout.read()
        process.stdout.close()


def test_a_commit_that_nobody_works_on_any_more_is_told(lab, monkeypatch):
    monkeypatch.setattr(waiting, "_PATIENCE", 0.1)
    lab.follower().receive("ab" * 20, None, "me")
    with pytest.raises(LabError, match="nobody works on it") as caught:
        waiting.wait(Settings(), "home", "abab", "10m")
    assert "lab gitops run" in caught.value.hint
