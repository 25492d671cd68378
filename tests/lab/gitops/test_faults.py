"""F47: whatever happens to the branch, nothing is deleted by itself and the newest commit wins."""

import sqlite3
import subprocess
import sys

import pytest

from lab.errors import ConfigError, LabError
from lab.gitops.steps import Looked, Refused
from lab.gitops.store import State

pytestmark = pytest.mark.slow  # dozens of real pushes, each with its run

BAD = {
    "unknown key": ("personas/web.yaml", "packages:", "packges:"),
    "unknown section": ("personas/web.yaml", "system:", "sytem:"),
    "no unit": ("personas/web.yaml", "1GiB\n", "1\n"),
    "not YAML": ("personas/web.yaml", "system:", "system: ["),
    "a tab": ("personas/web.yaml", "  cpu", "\tcpu"),
    "no such persona": ("inventory/hosts.yaml", "persona: db", "persona: dp"),
    "no such provider": (
        "inventory/hosts.yaml",
        "persona: db, provider: box",
        "persona: db, provider: bx",
    ),
    "a circle": ("inventory/hosts.yaml", "web1: {", "web1: {after: [web2], "),
    "no such file": ("personas/web.yaml", "source: motd", "source: mtod"),
    "a path that leads out": ("personas/web.yaml", "source: motd", "source: ../../etc/passwd"),
    "python": ("personas/web.yaml", "a server", "!!python/object/apply:os.system [id]"),
    "a name that is none": ("inventory/hosts.yaml", "db1:", "DB_1:"),
}
REMOVED = {
    "a host": {"inventory/hosts.yaml": ("  db1: {persona: db, provider: box}\n", "")},
    "a persona and its host": {
        "inventory/hosts.yaml": ("  db1: {persona: db, provider: box}\n", ""),
        "personas/db.yaml": None,
        "personas/db/motd": None,
    },
    "all hosts": {
        "inventory/hosts.yaml": None,
        "personas/web.yaml": None,
        "personas/web/motd": None,
        "personas/db.yaml": None,
        "personas/db/motd": None,
    },
}


def change(clone, edits):
    for name, edit in edits.items():
        if edit is None:
            (clone.root / name).unlink()
        else:
            clone.edit(name, *edit)


@pytest.mark.parametrize("mistake", BAD)
def test_what_is_wrong_is_refused_and_nothing_happens(desk, mistake):
    before, runs = desk.ledger(), desk.follower.store.settled()
    desk.clone.edit(*BAD[mistake])
    commit = desk.clone.commit()
    desk.clone.push()
    said = []
    assert desk.follower.examine(commit, said.append) is False
    error = said[0].error
    assert isinstance(error, ConfigError)
    assert error.problems[0].where.count(":") >= 1
    assert desk.deal(commit) is State.REFUSED  # also where no hook stood before it
    assert isinstance(desk.step(Refused).error, ConfigError)
    desk.clone.git("reset", "-q", "--hard", "HEAD~1")
    assert desk.ledger() == before
    assert desk.follower.store.settled() == runs


@pytest.mark.parametrize("what", REMOVED)
@pytest.mark.parametrize("mode", ["plan", "ask", "apply"])
def test_what_is_removed_is_told_and_never_deleted(desk, what, mode):
    before = desk.ledger()
    desk.set(mode=mode)
    change(desk.clone, REMOVED[what])
    assert desk.push() is State.UNCHANGED
    looked = desk.step(Looked)
    assert "db1" in looked.touched.removed
    assert looked.orphans == looked.touched.removed
    assert desk.ledger() == before
    assert desk.clone.machines() == ["db1", "web1", "web2"]


def test_what_was_removed_comes_back_as_it_is(desk):
    change(desk.clone, REMOVED["a host"])
    desk.push()
    desk.clone.git("revert", "--no-edit", "HEAD")
    assert desk.push() is State.UNCHANGED
    assert desk.touched == ("db1",)
    assert desk.said == "every host is as declared already"


def test_an_emptied_repository_is_refused(desk):
    desk.clone.git("rm", "-rq", ".")
    assert desk.push() is State.REFUSED
    assert desk.clone.machines() == ["db1", "web1", "web2"]


def test_a_branch_without_history_is_compared_by_what_it_declares(desk):
    desk.clone.git("checkout", "-q", "--orphan", "other")
    desk.clone.commit("from nothing")
    desk.clone.git("branch", "-M", "main")
    assert desk.push() is State.UNCHANGED
    assert desk.touched == ()


@pytest.mark.parametrize("back", [1, 2])
def test_a_force_push_goes_back_to_what_that_commit_declares(desk, back):
    for package in ("htop", "vim"):
        desk.clone.edit("personas/web.yaml", "[curl", f"[curl, {package}")
        desk.push()
    assert desk.clone.packages("web1") == {"curl", "htop", "vim"}
    desk.clone.git("reset", "-q", "--hard", f"HEAD~{back}")
    assert desk.push() is State.APPLIED
    assert desk.touched == ("web1", "web2")
    assert desk.clone.packages("web1") == ({"curl", "htop"} if back == 1 else {"curl"})


@pytest.mark.parametrize("count", [2, 3, 5])
def test_of_several_pushes_in_a_row_the_newest_wins_and_the_others_are_recorded(desk, count):
    numbers = []
    for package in ("htop", "vim", "tree", "htop", "vim")[:count]:
        desk.clone.write(
            "personas/web.yaml",
            (desk.clone.root / "personas/web.yaml")
            .read_text()
            .replace("[curl]", f"[curl, {package}]"),
        )
        commit = desk.clone.commit()
        desk.clone.push("--force", "main")
        numbers.append(desk.follower.receive(commit, None, "me"))
        if count > 2:
            desk.clone.git("reset", "-q", "--hard", "HEAD~1")
    assert desk.work() is State.APPLIED
    states = [desk.follower.store.request(n).state for n in numbers]
    assert states == [*([State.SUPERSEDED] * (count - 1)), State.APPLIED]
    assert desk.work() is None


def test_a_cut_off_request_never_comes_back_after_a_newer_one(desk):
    store = desk.follower.store
    desk.clone.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    commit = desk.clone.commit()
    desk.clone.push()
    old = desk.follower.receive(commit, None, "me")
    assert store.next().id == old  # and then its worker died
    desk.clone.edit("personas/web.yaml", "htop", "vim")
    assert desk.push() is State.APPLIED
    assert store.request(old).state is State.SUPERSEDED
    assert desk.work() is None
    assert desk.clone.packages("web1") == {"curl", "vim"}


def test_a_deleted_branch_changes_nothing(lab):
    shown = lab.push("--delete", "main", ok=None)
    if shown.code != 0:  # git's own guard of the current branch
        lab.git("--git-dir", lab.bare, "config", "receive.denyDeleteCurrent", "ignore")
        shown = lab.push("--delete", "main")
    assert "The branch main is gone. Nothing was changed on any host" in shown.said
    assert lab.machines() == ["db1", "web1", "web2"]
    assert "no commit on main" in lab.lab("gitops", "run").stderr
    assert "Touches no host; 3 others as before." in lab.push().said


def test_two_workers_at_once_deal_with_one_commit_once(desk):
    desk.clone.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    desk.follower.receive(desk.clone.commit(), None, "me")
    desk.clone.push()
    argv = [sys.executable, "-P", "-m", "lab.cli", "gitops", "work", "--name", "home"]
    workers = [subprocess.Popen(argv, env=desk.clone.env, cwd=desk.clone.base) for _ in range(4)]
    assert [w.wait(60) for w in workers] == [0, 0, 0, 0]
    assert [r.state for r in desk.follower.store.requests(9)] == [State.APPLIED] * 2
    assert desk.clone.packages("web2") == {"curl", "htop"}


def test_a_remote_that_is_gone_leaves_the_last_good_clone_serving(desk, tmp_path):
    clone = tmp_path / "clone.git"
    desk.set(repository=str(clone), url=str(desk.clone.bare))
    head = desk.follower.fetch()
    desk.clone.bare.rename(tmp_path / "away.git")
    with pytest.raises(LabError, match="Unable to fetch main"):
        desk.follower.fetch()
    assert desk.follower.repository.head("main") == head
    assert desk.deal(head) is State.UNCHANGED


def test_a_remote_branch_that_is_gone_leaves_it_too(desk, tmp_path):
    desk.set(repository=str(tmp_path / "clone.git"), url=str(desk.clone.bare))
    head = desk.follower.fetch()
    desk.clone.push("--delete", "main")
    with pytest.raises(LabError, match="Unable to fetch main"):
        desk.follower.fetch()
    assert desk.follower.repository.head("main") == head


def test_a_rewritten_remote_branch_is_followed(desk, tmp_path):
    desk.set(repository=str(tmp_path / "clone.git"), url=str(desk.clone.bare))
    desk.follower.fetch()
    desk.clone.commit("amended", "--amend")
    desk.clone.push("--force", "main")
    assert desk.follower.fetch() == desk.clone.git("rev-parse", "main").stdout.strip()


def test_another_labs_commit_is_refused(desk):
    desk.clone.edit("lab.yaml", "name: home", "name: other")
    assert desk.push() is State.REFUSED
    assert "this repository is of the lab 'home'" in str(desk.step(Refused).error)


def test_a_record_of_a_newer_strata_is_refused_and_not_rewritten(desk):
    path = desk.follower.folder / "gitops.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(LabError, match="a newer Strata wrote it"):
        desk.follower.receive("0" * 40, None, "me")
    assert path.read_bytes() == before


def test_a_record_that_is_broken_says_what_to_do(desk):
    path = desk.follower.folder / "gitops.db"
    path.write_bytes(b"this is no database" * 100)
    for leftover in path.parent.glob("gitops.db-*"):
        leftover.unlink()
    with pytest.raises(LabError, match="not a database"):
        desk.follower.store.requests(1)


def test_a_hook_put_on_an_old_repository_begins_with_what_the_branch_declared(clone, make_desk):
    desk = make_desk()
    before = clone.commit("old")
    clone.push()
    clone.edit("personas/db.yaml", "[curl]", "[curl, tree]")
    commit = clone.commit("new")
    clone.push()
    assert desk.deal(commit, before) is State.APPLIED
    assert desk.touched == ("db1",)
    clone.edit("personas/db.yaml", "tree", "vim")
    desk.push()
    assert desk.touched == ("db1",)


def test_a_first_commit_that_waits_is_planned_anew_and_not_taken_for_done(clone, make_desk):
    desk = make_desk(mode="ask")
    assert desk.push(message="first") is State.WAITING
    desk.set(mode="apply")
    desk.follower.again("me")
    assert desk.work() is State.APPLIED
    assert desk.clone.machines() == ["db1", "web1", "web2"]
