"""F10: the clock jumps by an hour, by ten years, backwards, also within a run."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

LAB = [sys.executable, "-m", "lab.cli"]
FILES = {
    "lab.yaml": "name: clock\nproviders:\n  box: {kind: memory}\n",
    "personas/web.yaml": """
image: {base: debian-13}
machine: {cpu: 1, memory: 1GiB, disks: {root: {size: 8GiB}}}
system: {packages: [curl]}
""",
    "inventory/hosts.yaml": "hosts:\n  a: {persona: web, provider: box}\n",
}
JUMPS = ["+1h", "-1h", "+10y", "-10y", "+0", "-3d", "+40d", "-1h", "+10y", "-10y"] * 3


@pytest.fixture
def faketime():
    """The words before a command that sees another time."""
    if shutil.which("faketime") is None:
        why = "faketime is not here: sudo apt-get install faketime"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    seen = subprocess.run(
        ["faketime", "-f", "+10y", sys.executable, "-c", "import time; print(time.time())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(seen.stdout) > 2e9, "the fault missed"
    return lambda jump: ["faketime", "-f", jump]


def lab(root, *words, before=()):
    done = subprocess.run(
        [*before, *LAB, *words],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert "mistake in Strata" not in done.stderr, done.stderr
    return done


def declare(root, number):
    text = FILES["personas/web.yaml"].replace("[curl]", f"[curl, p{number}]")
    (root / "personas/web.yaml").write_text(text)


@pytest.mark.slow
def test_runs_under_thirty_jumping_clocks_stay_in_order(lab_dir, faketime):
    root = lab_dir(FILES)
    made = []
    for number, jump in enumerate(JUMPS):
        declare(root, number)
        done = lab(root, "converge", "--yes", "--json", before=faketime(jump))
        assert done.returncode == 0, done.stderr
        made.append(json.loads(done.stdout.splitlines()[-1])["run"])
    assert lab(root, "plan", "--quiet").returncode == 0
    runs = json.loads(lab(root, "history", "-n", "40", "--json").stdout)["runs"]
    assert [r["run"] for r in runs] == made[::-1], "the newest first, whatever the clock said"
    assert all(0 <= r["seconds"] < 60 for r in runs)
    assert "-" not in {line.split()[6] for line in lab(root, "history").stdout.splitlines()[1:]}
    last = json.loads(lab(root, "show", "last", "--json").stdout)
    assert last["run"] == made[-1]
    assert all(0 <= c["seconds"] < 60 for c in last["changes"])
    status = json.loads(lab(root, "status", "--json").stdout)
    assert status["hosts"][0]["behind"] is False, "an older clock's word counts as the newer one"
    assert "p29" in lab(root, "explain", "host=a", "system.packages.1").stdout
    assert lab(root, "diff", "last").returncode == 2


IN_ONE_RUN = """
import pathlib, sys, time
clock = [2_000_000_000.0]
jumps = iter([3600.0, -7200.0, 315e6, -630e6, 1.0] * 20)
def jumping():
    clock[0] += next(jumps)
    return clock[0]
time.time = jumping
from lab.journal import Journal
journal = Journal(pathlib.Path(sys.argv[1]))
for name in ("one", "two"):
    journal.begin_run(name, "converge", ["a"], None)
    for n in range(6):
        journal.end_change(journal.begin_change(name, ("a", "l1", ""), "create", f"t{n}"), ok=True)
    journal.end_run(name, 0)
"""


def test_jumps_within_a_run_give_no_negative_durations(tmp_path):
    """As an older Strata wrote it, without durations of its own: only the clock's times."""
    from lab.journal import Journal

    subprocess.run([sys.executable, "-c", IN_ONE_RUN, str(tmp_path)], check=True)
    journal = Journal(tmp_path)
    assert [r.run for r in journal.runs(5)] == ["two", "one"]
    for run in journal.runs(5):
        past = journal.run(run.run)
        raw = [c.ended - c.started for c in past.changes]
        assert min(raw) < 0 < max(raw), "the fault missed"
        assert all(c.seconds >= 0 for c in past.changes)
        assert run.seconds >= 0
    journal.close()


def test_the_last_word_on_a_part_is_the_last_that_was_written(tmp_path, monkeypatch):
    import time

    from lab.journal import Journal
    from lab.model.outcome import Outcome, PartReport

    journal = Journal(tmp_path)
    for at, outcome, score in ((3e9, Outcome.FAILED, 9), (1e9, Outcome.CHANGED, 1)):
        monkeypatch.setattr(time, "time", lambda at=at: at)
        journal.end_part("r", PartReport("a", "l1", "", "toy", outcome), "digest")
        journal.keep_score("a", score, score)
    assert [p.outcome for p in journal.last_parts()] == ["changed"]
    assert journal.scores()["a"].score == 1


def test_a_lock_of_a_holder_from_the_future_is_told_and_freed(tmp_path, faketime):
    from lab.errors import Locked
    from lab.journal import locked

    code = (
        "import pathlib, signal, sys; from lab.journal import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), ['a'], 'converge'):\n"
        "    print('ready', flush=True); signal.pause()"
    )
    for jump in ("+10y", "-10y", "+1h", "-1h"):
        words = [*faketime(jump), sys.executable, "-c", code, str(tmp_path)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as holder:
            assert holder.stdout.readline() == b"ready\n"
            with pytest.raises(Locked, match="process"), locked(tmp_path, ["a"], "converge"):
                pass
            os.killpg(holder.pid, signal.SIGKILL)  # faketime and what it runs
            holder.stdout.read()
        with locked(tmp_path, ["a"], "converge"):
            pass
