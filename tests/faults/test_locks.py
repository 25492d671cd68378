"""F08, F09: several runners at once; dead, paused and lying lock holders. Nobody ever unlocks."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HOLD = """
import pathlib, signal, sys
from lab.journal import locked
with locked(pathlib.Path(sys.argv[1]), ["a"], "converge"):
    print("ready", flush=True)
    signal.pause()
"""
# Each tries the same host again and again; what it saw goes out as JSON. While it holds the lock it
# is alone: it makes a file that must not be there, and takes it away.
RACE = """
import json, os, pathlib, random, sys, time
from lab.errors import Locked
from lab.journal import locked
folder, rounds, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
dice, seen = random.Random(seed), {"won": 0, "lost": [], "slow": 0.0, "twins": 0}
sys.argv[:] = ["lab", "converge", f"--seed={seed}"]
for _ in range(rounds):
    start = time.monotonic()
    try:
        with locked(folder, ["a", "b"], "converge"):
            try:
                os.close(os.open(folder / "alone", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                seen["twins"] += 1
            time.sleep(dice.random() * 0.02)
            (folder / "alone").unlink(missing_ok=True)
            seen["won"] += 1
    except Locked as error:
        seen["lost"].append(error.message)
    seen["slow"] = max(seen["slow"], time.monotonic() - start - 0.02)
    time.sleep(dice.random() * 0.01)
print(json.dumps(seen))
"""
LAB = [sys.executable, "-m", "lab.cli"]
FILES = {
    "lab.yaml": "name: locks\nproviders:\n  box: {kind: memory}\n",
    "personas/web.yaml": """
image: {base: debian-13}
machine: {cpu: 1, memory: 1GiB, disks: {root: {size: 8GiB}}}
system: {packages: [curl]}
""",
    "inventory/hosts.yaml": "hosts:\n  a: {persona: web, provider: box}\n",
}


def hold(folder):
    argv = [sys.executable, "-c", HOLD, str(folder)]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"ready\n"
    return holder


def end(holder):
    holder.kill()
    holder.wait(30)
    holder.stdout.close()


def converge(root, *words):
    start = time.monotonic()
    done = subprocess.run(
        [*LAB, "converge", "--yes", *words],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done, time.monotonic() - start


def locks_of(lab):
    return Path(os.environ["XDG_STATE_HOME"], "strata", lab, "locks")


@pytest.mark.parametrize("runners", [2, 8])
def test_of_several_runners_one_goes_on_and_the_others_are_told_who(tmp_path, runners):
    rounds = 100 // runners  # with both cases together 200 tries
    argv = [sys.executable, "-c", RACE, str(tmp_path), str(rounds)]
    going = [subprocess.Popen([*argv, str(n)], stdout=subprocess.PIPE) for n in range(runners)]
    seen = [json.loads(p.communicate(timeout=60)[0]) for p in going]
    assert all(p.returncode == 0 for p in going)
    lost = [message for s in seen for message in s["lost"]]
    assert sum(s["twins"] for s in seen) == 0
    assert sum(s["won"] for s in seen) + len(lost) == rounds * runners
    assert lost, "they never met"
    pids = {p.pid for p in going}
    for message in lost:
        # the holder by name, or that it was gone before anybody could ask
        named = re.search(r"runs 'lab converge --seed=\d+' on it \(process (\d+), since", message)
        assert (named and int(named[1]) in pids) or "another run holds it" in message, message
    named = sum("another run" not in m for m in lost)
    assert named >= 0.9 * len(lost), lost
    assert max(s["slow"] for s in seen) < 2.0


@pytest.mark.slow
def test_holders_that_die_stop_or_lie_sixty_times(tmp_path):
    from lab.errors import Locked
    from lab.journal import locked

    lies = [
        b"", b"\0" * 5000, b"\xff\xfe garbage", b"[" * 100_000, b'{"pid": "x"}', b"null",
        b'{"who": "me", "pid": 1, "since": 1e999, "command": "lab"}',
        b'{"who": "me", "pid": 1, "since": 0, "command": "lab converge"}',
        b'{"who": "\\u001b[31m", "pid": -1, "since": null, "command": []}',
    ]  # fmt: skip
    dice = random.Random(7)
    for turn in range(20):
        holder = hold(tmp_path)
        if turn % 2:
            os.kill(holder.pid, signal.SIGSTOP)  # paused: it keeps the lock, and is named
        (tmp_path / "a.lock").write_bytes(dice.choice(lies) if turn % 3 else lies[turn % len(lies)])
        start = time.monotonic()
        with pytest.raises(Locked) as refused, locked(tmp_path, ["a"], "converge"):
            pass
        assert time.monotonic() - start < 2.0
        assert str(holder.pid) in refused.value.message, "a lie was believed"
        end(holder)
        start = time.monotonic()
        with locked(tmp_path, ["a"], "converge"):  # nobody unlocked anything
            pass
        assert time.monotonic() - start < 2.0
        (tmp_path / "a.lock").write_bytes(dice.choice(lies))  # without a holder
        with locked(tmp_path, ["a"], "converge"):
            pass


def test_a_lock_that_cannot_be_kept_is_an_error_in_plain_words(tmp_path):
    from lab.errors import LabError
    from lab.journal import locked

    (tmp_path / "a.lock").mkdir()
    with (
        pytest.raises(LabError, match=r"Unable to converge a: its lock .* Is a directory"),
        locked(tmp_path, ["a"], "converge"),
    ):
        pass


def test_the_losing_command_exits_at_once_and_says_who(lab_dir):
    root = lab_dir(FILES)
    holder = hold(locks_of("locks"))
    try:
        done, took = converge(root)
        assert done.returncode == 4
        assert f"process {holder.pid}" in done.stderr
        assert took < 2.0
    finally:
        end(holder)
    done, _ = converge(root)
    assert done.returncode == 0, done.stderr


def test_a_waiting_run_says_who_holds_it_and_goes_on_when_it_dies(lab_dir):
    root = lab_dir(FILES)
    holder = hold(locks_of("locks"))
    words = [*LAB, "converge", "--yes", "--wait"]
    with subprocess.Popen(words, cwd=root, stderr=subprocess.PIPE, text=True) as waiting:
        first = waiting.stderr.readline()
        assert first.startswith("waits for a: ")
        assert f"process {holder.pid}" in first
        end(holder)
        rest = waiting.communicate(timeout=30)[1]
    assert waiting.returncode == 0, rest


def test_waiting_tells_json_readers_and_ends_at_ctrl_c(lab_dir):
    root = lab_dir(FILES)
    holder = hold(locks_of("locks"))
    try:
        words = [*LAB, "converge", "--yes", "--wait", "--json"]
        with subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE) as waiting:
            event = json.loads(waiting.stdout.readline())
            assert event["event"] == "lock_awaited"
            assert str(holder.pid) in event["holder"]
            start = time.monotonic()
            waiting.send_signal(signal.SIGINT)
            rest = waiting.communicate(timeout=30)[0]
        assert waiting.returncode == 130
        assert time.monotonic() - start < 5.0
        assert json.loads(rest.splitlines()[-1])["kind"] == "Interrupted"
    finally:
        end(holder)
    history = subprocess.run([*LAB, "history"], cwd=root, capture_output=True, check=True)
    assert b"No run yet" in history.stdout, "a run that only waited is no run"


def test_a_run_in_progress_is_told_from_one_that_was_cut_off(lab_dir, tmp_path):
    from lab.journal import Journal

    folder = tmp_path / "state"
    holder = hold(folder / "locks")
    journal = Journal(folder)
    journal.begin_run("r", "converge", ["a"], None)
    journal._write("UPDATE run SET pid=?", (holder.pid,))
    assert journal.runs(1)[0].running
    end(holder)
    assert not journal.runs(1)[0].running
