"""A real push to a real bare repository: what the pusher sees, and what happens to the hosts."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lab.gitops.store import State

FAULT_AFTER_ONE = "engine.l3_system.after_apply"


def hosts_in(text):
    return set(re.findall(r"\b(web1|web2|db1)\b", text))


def until(true, seconds=120.0):
    """Wait for something another process does."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it never happened"
        time.sleep(0.02)


def test_the_first_push_converges_everything(clone):
    clone.commit("first")
    clone.install()
    shown = clone.push()
    assert clone.machines() == ["db1", "web1", "web2"]
    assert "Applied:" in shown.said
    assert "3 hosts are as declared" in shown.said


def test_an_edited_persona_converges_exactly_its_hosts(lab):
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    shown = lab.pushed()
    assert "Touches web1, web2; 1 other as before." in shown.said
    assert "+ package htop" in shown.said
    assert "Converged: 2 changes on 2 hosts" in shown.said
    assert "db1" not in shown.said
    assert lab.packages("web1") == lab.packages("web2") == {"curl", "htop"}
    assert lab.packages("db1") == {"curl"}
    assert lab.newest().hosts == ("web1", "web2")


def test_an_edited_file_beside_a_persona_touches_its_hosts(lab):
    lab.write("personas/db/motd", "another\n")
    assert "Touches db1; 2 others as before." in lab.pushed().said


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("personas/web.yaml", "purpose:", "# why\npurpose:"),
        ("personas/web.yaml", "purpose: a server", "purpose: something else"),
        ("personas/web.yaml", "  cpu: 1\n  memory: 1GiB\n", "  memory: 1024MiB\n  cpu: 1\n"),
        ("inventory/hosts.yaml", "after: [web1]", "after: [db1]"),
    ],
)
def test_an_edit_that_changes_nothing_converges_nothing(lab, name, old, new):
    runs = len(lab.lab("history", "--json").stdout)
    lab.edit(name, old, new)
    shown = lab.pushed()
    assert "Touches no host; 3 others as before." in shown.said
    assert lab.newest().state is State.UNCHANGED
    assert len(lab.lab("history", "--json").stdout) == runs


def test_a_renamed_persona_file_touches_by_what_it_says_not_by_its_name(lab):
    lab.git("mv", "inventory/hosts.yaml", "inventory/all.yaml")
    assert "Touches no host" in lab.pushed().said


def test_bad_yaml_is_refused_in_the_pushs_own_output(lab):
    head = lab.git("rev-parse", "HEAD").stdout
    lab.edit("personas/web.yaml", "packages:", "packges:")
    shown = lab.pushed(ok=(1,))
    assert "personas/web.yaml:8:3: unknown key 'packges'; did you mean 'packages'?" in shown.said
    assert "│   ^" in shown.said
    assert lab.git("--git-dir", lab.bare, "rev-parse", "main").stdout == head
    assert lab.newest().commit == head.strip()


def test_every_mistake_is_told_at_once(lab):
    lab.edit("personas/web.yaml", "packages:", "packges:")
    lab.edit("personas/db.yaml", "1GiB\n", "1Gib\n")
    lab.edit("inventory/hosts.yaml", "persona: db", "persona: dp")
    shown = lab.pushed(ok=(1,))
    for where in ("personas/web.yaml:8:3", "personas/db.yaml:5", "inventory/hosts.yaml:4"):
        assert where in shown.said


def test_eighty_columns_are_enough_and_no_colour_code_is_sent(lab):
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop, vim, tree]")
    shown = lab.pushed("a subject that is so long that it cannot stand on one line of eighty ones")
    assert max(len(line) for line in shown.lines) <= 72
    assert "\x1b[" not in shown.said


def test_the_pusher_sees_the_author_and_the_subject(lab):
    lab.edit("personas/db/motd".replace("/motd", ".yaml"), "[curl]", "[curl, tree]")
    assert "more for the database (me)" in lab.pushed("more for the database").said


def test_another_branch_is_nobodys_business(lab):
    lab.git("switch", "-q", "-c", "idea")
    lab.edit("personas/web.yaml", "packages:", "packges:")
    lab.commit()
    assert lab.push("idea").said == ""


def test_the_applied_commit_is_recorded_for_each_host(lab):
    first = lab.git("rev-parse", "HEAD").stdout.strip()
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    lab.pushed()
    second = lab.git("rev-parse", "HEAD").stdout.strip()
    settled = lab.follower().store.settled()
    assert {h: s.commit for h, s in settled.items()} == {
        "web1": second,
        "web2": second,
        "db1": first,
    }
    assert f'"{second[:12]}"' in lab.lab("history", "--json").stdout


def test_plan_mode_shows_and_never_applies(clone):
    clone.commit("first")
    clone.install("--mode", "plan")
    shown = clone.push()
    assert "Planned:" in shown.said
    assert clone.machines() == []
    clone.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    assert "Touches web1, web2" in clone.pushed().said


def test_ask_mode_waits_for_approval(lab):
    lab.install("--mode", "ask")
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    shown = lab.pushed()
    number = lab.newest().id
    assert "Waiting: web1, web2 wait for approval." in shown.said
    assert f"Try: lab approve {number}" in shown.said
    assert lab.packages("web1") == {"curl"}
    assert f"{number}" in lab.lab("approve", ok=(2,)).stdout
    lab.lab("approve", number, "--yes")
    assert lab.packages("web1") == {"curl", "htop"}
    assert "is applied" in lab.lab("approve", number, "--yes", ok=(5,)).stderr


def test_what_destroys_waits_and_the_rest_goes_on(lab):
    lab.edit("personas/web.yaml", "base: debian-13", "base: debian-13, packages: [vim]")
    lab.edit("personas/db.yaml", "[curl]", "[curl, htop]")
    shown = lab.pushed()
    assert "web1, web2 wait for approval" in shown.said
    assert lab.packages("db1") == {"curl", "htop"}
    number = lab.newest().id
    refused = lab.lab("approve", number, "--yes", ok=(5,))
    assert "--confirm web1" in refused.stderr
    lab.lab("approve", number, "--yes", "--confirm", "web1", "--confirm", "web2")
    assert lab.newest().state is State.APPLIED


def test_the_newest_commit_supersedes_a_waiting_one(lab):
    lab.install("--mode", "ask")
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    lab.pushed()
    older = lab.newest().id
    lab.edit("personas/db.yaml", "[curl]", "[curl, tree]")
    shown = lab.pushed()
    assert "Touches web1, web2, db1." in shown.said
    refused = lab.lab("approve", older, "--yes", ok=(5,))
    assert "superseded" in refused.stderr
    lab.lab("approve", lab.newest().id, "--yes")
    assert (lab.packages("web1"), lab.packages("db1")) == ({"curl", "htop"}, {"curl", "tree"})


def test_taking_a_waiting_change_back_leaves_nothing_to_approve(lab):
    lab.install("--mode", "ask")
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    lab.pushed()
    lab.edit("personas/web.yaml", "[curl, htop]", "[curl]")
    assert "Touches no host" in lab.pushed().said
    assert lab.lab("approve").stdout == "Nothing waits.\n"


def test_an_approved_plan_is_refused_where_the_world_moved(lab):
    lab.install("--mode", "ask")
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    lab.pushed()
    lab.lab("converge", "host=web1", "--yes", "--no-input")
    done = lab.lab("approve", lab.newest().id, "--yes", ok=(1,))
    assert "the world moved" in done.stdout + done.stderr
    assert lab.lab("gitops", "run", ok=(2,))
    lab.lab("approve", lab.newest().id, "--yes")
    assert lab.newest().state is State.APPLIED


def test_a_pusher_who_leaves_does_not_stop_the_run(lab):
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    lab.commit()
    with (lab.follower()).turn():  # the worker has to wait until the pusher has gone
        pusher = subprocess.Popen(
            ["git", "push", "-q", str(lab.bare), "main"],
            cwd=lab.root,
            env=lab.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until(lambda: lab.newest().state is State.QUEUED)
        os.killpg(pusher.pid, signal.SIGINT)
        pusher.wait(30)
    until(lambda: lab.newest().state is State.APPLIED)
    assert lab.packages("web2") == {"curl", "htop"}


def test_a_worker_that_dies_half_way_is_resumed_by_the_next_push(lab):
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    shown = lab.pushed(STRATA_FAULT=FAULT_AFTER_ONE)
    assert "the worker ended before it was done" in shown.said
    assert lab.newest().state is State.RUNNING
    assert lab.packages("web2") == {"curl"}
    lab.edit("personas/db.yaml", "[curl]", "[curl, tree]")
    shown = lab.pushed()
    assert "Touches web1, web2, db1." in shown.said
    assert lab.packages("web2") == {"curl", "htop"}


def test_a_worker_that_dies_half_way_is_resumed_by_the_command(lab):
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    lab.pushed(STRATA_FAULT=FAULT_AFTER_ONE)
    lab.lab("gitops", "run")
    assert lab.packages("web2") == {"curl", "htop"}
    assert lab.newest().state is State.APPLIED


def test_a_cut_off_commit_that_is_reverted_is_undone_on_the_host_it_reached(lab):
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    lab.pushed(STRATA_FAULT=FAULT_AFTER_ONE)
    lab.edit("personas/web.yaml", "[curl, htop]", "[curl]")
    lab.pushed()
    assert lab.packages("web1") == lab.packages("web2") == {"curl"}


def test_a_host_that_somebody_works_on_is_told_and_picked_up_later(lab):
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    locks = Path(os.environ["XDG_STATE_HOME"], "strata/home/locks")
    import fcntl

    with (locks / "web1.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        shown = lab.pushed()
    assert "holds it" in " ".join(shown.said.split())
    lab.lab("gitops", "run")
    assert lab.packages("web1") == {"curl", "htop"}


def test_a_foreign_hook_is_never_overwritten(clone):
    clone.commit("first")
    clone.git("init", "-q", "--bare", "-b", "main", str(clone.bare))
    hook = clone.bare / "hooks/post-receive"
    hook.write_text("#!/bin/sh\necho mine\n")
    done = clone.lab("gitops", "install", "--repository", clone.bare, ok=(1,))
    assert "it is not ours" in done.stderr
    assert hook.read_text() == "#!/bin/sh\necho mine\n"
    assert not (clone.bare / "hooks/pre-receive").exists()


def test_a_forges_own_hooks_are_left_alone(clone):
    clone.commit("first")
    clone.git("init", "-q", "--bare", "-b", "main", str(clone.bare))
    for hook in ("pre-receive", "post-receive"):
        (clone.bare / "hooks" / f"{hook}.d").mkdir()
    clone.install()
    assert (clone.bare / "hooks/post-receive.d/strata").stat().st_mode & 0o111
    assert not (clone.bare / "hooks/post-receive").exists()


def test_status_names_what_is_followed_and_what_came_of_it(lab):
    shown = lab.lab("gitops", "status").stdout
    assert f"{lab.bare}, branch main, mode apply" in shown
    assert "13 changes made" in shown or "changes made on web1, web2, db1" in shown
