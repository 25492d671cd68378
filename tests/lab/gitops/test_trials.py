"""A branch on one host: for a while, then back, unless it is kept."""

import time

import pytest

from lab.api import Approval
from lab.errors import LabError
from lab.gitops.steps import Looked
from lab.gitops.store import State, Trial
from lab.gitops.trials import Trials

pytestmark = pytest.mark.slow  # dozens of real pushes, each with its run


@pytest.fixture
def trials(desk):
    """A branch that has one more package is pushed."""
    desk.clone.git("switch", "-q", "-c", "idea")
    desk.clone.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    desk.clone.commit()
    desk.clone.push("idea")
    desk.clone.git("switch", "-q", "main")
    return Trials(desk.follower, desk.steps.append)


def begin(desk, trials, seconds=600.0, host="web1"):
    with desk.follower.turn():
        commit = trials.commit_of("idea")
        _, saved = trials.plan(commit, host)
        trial = Trial(host, "idea", commit, time.time() + seconds)
        return trials.begin(trial, saved, Approval())


def test_only_that_host_runs_the_branch(desk, trials):
    assert begin(desk, trials).exit_code == 0
    assert desk.clone.packages("web1") == {"curl", "htop"}
    assert desk.clone.packages("web2") == {"curl"}


def test_it_goes_back_when_the_time_is_over(desk, trials):
    begin(desk, trials, seconds=-1.0)
    with desk.follower.turn():
        trials.end_due()
    assert desk.clone.packages("web1") == {"curl"}
    assert desk.follower.store.trials() == {}
    desk.clone.edit("personas/db.yaml", "[curl]", "[curl, tree]")
    desk.push()
    assert desk.touched == ("db1",)


def test_it_does_not_go_back_before(desk, trials):
    begin(desk, trials)
    with desk.follower.turn():
        trials.end_due()
    assert desk.clone.packages("web1") == {"curl", "htop"}


def test_a_clock_that_jumped_ends_it_rather_than_never(desk, trials):
    begin(desk, trials, seconds=10 * 365 * 86400.0)
    assert [t.host for t in trials.due()] == ["web1"]


def test_a_push_leaves_it_alone_and_the_host_is_picked_up_afterwards(desk, trials):
    begin(desk, trials)
    desk.clone.edit("personas/web.yaml", "[curl]", "[curl, vim]")
    assert desk.push() is State.APPLIED
    assert [t.host for t in desk.step(Looked).trials] == ["web1"]
    assert desk.clone.packages("web1") == {"curl", "htop"}
    assert desk.clone.packages("web2") == {"curl", "vim"}
    with desk.follower.turn():
        assert trials.revert("web1")
    assert desk.clone.packages("web1") == {"curl"}
    desk.deal(desk.clone.git("rev-parse", "HEAD").stdout.strip())
    assert desk.clone.packages("web1") == {"curl", "vim"}


def test_a_kept_one_that_is_merged_has_nothing_left_to_do(desk, trials):
    begin(desk, trials)
    with desk.follower.turn():
        assert trials.keep("web1").branch == "idea"
    desk.clone.git("merge", "-q", "--ff-only", "idea")
    assert desk.push() is State.APPLIED
    assert desk.touched == ("web2",)


def test_a_crash_after_it_began_does_not_leave_it_for_good(desk, trials, monkeypatch):
    class Crash(BaseException):
        pass

    def crash(*_, **__):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr("lab.api.Lab.apply", crash)
        with pytest.raises(Crash):
            begin(desk, trials, seconds=-1.0)
    with desk.follower.turn():
        trials.end_due()
    assert desk.follower.store.trials() == {}
    assert desk.follower.store.settled()["web1"].digest


def test_a_branch_that_is_not_there_is_told(trials):
    with pytest.raises(LabError, match="there is no such branch"):
        trials.commit_of("ideas")


def test_a_host_that_tries_nothing_cannot_be_kept(desk, trials):
    with pytest.raises(LabError, match="web2 tries no branch"):
        trials.keep("web2")


def test_the_command_tries_and_takes_back_by_itself(desk, trials):
    shown = desk.clone.lab("try", "idea", "host=web1", "--for", "2s", "--yes", "--name", "home")
    assert "+ package htop" in shown.stdout
    assert "lab try --keep host=web1" in shown.stderr
    ends = time.monotonic() + 60
    while desk.follower.store.trials():
        assert time.monotonic() < ends, "it never went back"
        time.sleep(0.05)
    assert desk.clone.packages("web1") == {"curl"}
