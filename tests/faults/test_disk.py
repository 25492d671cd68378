"""F11, F12: the disk is full at every threshold, or each write and fsync of the journal fails.

What was acknowledged is there, nothing is half there, the next run goes on.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.journal import Journal

LAB = [sys.executable, "-m", "lab.cli"]
PAGE = 4096
TOLD = ("Unable to write the journal", "Unable to converge a: its lock")
FILES = {
    "lab.yaml": "name: full\nproviders:\n  box: {kind: memory}\n",
    "personas/web.yaml": """
image: {base: debian-13}
machine: {cpu: 1, memory: 1GiB, disks: {root: {size: 8GiB}}}
system: {packages: [curl]}
""",
    "inventory/hosts.yaml": "hosts:\n  a: {persona: web, provider: box}\n",
}
# One run of the journal; each line is printed once that step was acknowledged.
RUN = """
import pathlib, sys
from lab.errors import LabError
from lab.journal import Asked, Journal, Owned, locked
from lab.model.outcome import Outcome, PartReport
from lab.model.plan import Action, Change
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
journal = Journal(folder)
def done(step):
    print(step, flush=True)
try:
    with locked(folder / "locks", ["a"], "converge"):
        journal.begin_run(name, "converge", ["a"], None, Asked("lab converge", {"layer": "l3"}))
        done("run")
        for n in range(3):
            change = Change(Action.CREATE, f"thing {n}")
            number = journal.begin_change(name, ("a", "l1", ""), "create", change.what, change)
            done(f"begun {n}")
            journal.end_change(number, ok=True, seconds=1.0)
            done(f"ended {n}")
        journal.own(Owned("a", "l1", "", "toy", "p", "box", "{}"))
        journal.end_part(name, PartReport("a", "l1", "", "toy", Outcome.CHANGED), "digest")
        done("part")
        journal.end_run(name, 0, seconds=3.0)
        done("whole")
    journal.close()
except LabError as error:
    print("REFUSED", error.message)
    assert error.hint
"""


def converge(root, env, *before):
    return subprocess.run(
        [*before, *LAB, "converge", "--yes"],
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def steps(folder, name, *before):
    """What was acknowledged of one run, and the error that ended it (``""``: none)."""
    done = subprocess.run(
        [*before, sys.executable, "-c", RUN, str(folder), name],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr, done.stderr
    lines = done.stdout.splitlines()
    error = lines.pop().removeprefix("REFUSED ") if lines and "REFUSED" in lines[-1] else ""
    assert done.returncode == 0, done.stderr
    return lines, error


def is_whole(folder, name, acknowledged):
    """Everything that was acknowledged is in the journal, and no record is half there."""
    journal = Journal(folder)
    try:
        known = {r.run for r in journal.runs(500)}
        if "run" not in acknowledged and name not in known:
            return
        past = journal.run(name)
        assert past.asked.command == "lab converge", "a run without what it was asked for"
        changes = {c.change.what: c for c in past.changes}
        for n in range(3):
            if f"begun {n}" in acknowledged:
                assert f"thing {n}" in changes
            if f"ended {n}" in acknowledged:
                assert changes[f"thing {n}"].ok is True
        for change in past.changes:
            assert (change.ok is None) == (change.seconds is None)
        if "part" in acknowledged:
            assert len(past.parts) == 1
        if "whole" in acknowledged:
            assert past.record.exit_code == 0
    finally:
        journal.close()


def is_told(folder):
    """While the disk is full the journal is read, or says that it cannot be."""
    journal, told = Journal(folder), None
    try:
        journal.runs(5)
    except LabError as error:
        told = error
    finally:
        journal.close()
    if told is not None:
        assert told.message.startswith("Unable to read the journal")
        assert "make room" in told.hint


@pytest.fixture
def small(tmp_path):
    """Mounts tiny file systems; all are gone afterwards."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a tiny tmpfs")
    made = []

    def mount(name, options):
        folder = tmp_path / name
        folder.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        if subprocess.run(argv, check=False, capture_output=True).returncode != 0:
            pytest.skip("this root may not mount")
        made.append(folder)
        return folder

    yield mount
    for folder in made:
        subprocess.run(["umount", "--lazy", folder], check=True)


def in_this_process(folder, name):
    """The same run without a new interpreter: quick enough for a hundred thresholds."""
    from lab.journal import Asked, locked
    from lab.model.plan import Action, Change

    acknowledged, error = [], ""
    journal = Journal(folder)
    try:
        with locked(folder / "locks", ["a"], "converge"):
            journal.begin_run(name, "converge", ["a"], None, Asked("lab converge"))
            acknowledged.append("run")
            for n in range(3):
                change = Change(Action.CREATE, f"thing {n}", reason="x" * 3000)
                what = ("a", "l1", "")
                number = journal.begin_change(name, what, "create", change.what, change)
                acknowledged.append(f"begun {n}")
                journal.end_change(number, ok=True, seconds=1.0)
                acknowledged.append(f"ended {n}")
            journal.end_run(name, 0, seconds=3.0)
            acknowledged.append("whole")
    except LabError as refused:
        error = refused.message
    finally:
        journal.close()
    return acknowledged, error


def test_the_disk_is_full_at_every_threshold(small):
    disk = small("disk", "size=600k")
    full = tried = 0
    for pages in range(90):
        folder = disk / "state"
        shutil.rmtree(folder, ignore_errors=True)
        filler = disk / "filler"
        filler.write_bytes(b"")
        free = os.statvfs(disk).f_bavail * PAGE
        filler.write_bytes(b"x" * max(0, free - pages * PAGE))
        acknowledged, error = in_this_process(folder, "r1")
        tried += 1
        if "whole" not in acknowledged:
            full += 1
            assert error.startswith(TOLD), error
        is_told(folder)
        filler.unlink()
        is_whole(folder, "r1", acknowledged)
        assert in_this_process(folder, "r2")[0][-1] == "whole", "the next run goes on"
        is_whole(folder, "r1", acknowledged)
    assert tried == 90
    assert 10 < full < 85, "the disk was full at too few or too many of them"


def test_no_inode_is_left_at_every_threshold(small):
    full = 0
    for inodes in range(2, 12):
        folder = small(f"inodes{inodes}", f"size=1m,nr_inodes={inodes}")
        acknowledged, error = in_this_process(folder / "state", "r1")
        full += "whole" not in acknowledged
        assert ("whole" in acknowledged) != bool(error)
        is_told(folder / "state")
        subprocess.run(["mount", "-o", "remount,nr_inodes=100", folder], check=True)
        is_whole(folder / "state", "r1", acknowledged)
        assert in_this_process(folder / "state", "r2")[0][-1] == "whole"
    assert 2 <= full < 10


def test_a_full_disk_is_told_by_the_command_and_nothing_was_done(small, lab_dir, monkeypatch):
    disk = small("disk", "size=64k")
    (disk / "filler").write_bytes(b"x" * 60 * 1024)
    monkeypatch.setenv("XDG_STATE_HOME", str(disk))
    root = lab_dir(FILES)
    done = converge(root, os.environ)
    assert done.returncode == 1
    assert "Unable to" in done.stderr
    assert "make room" in done.stderr
    assert "mistake in Strata" not in done.stderr
    (disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=2m", disk], check=True)
    assert converge(root, os.environ).returncode == 0


@pytest.fixture
def strace():
    """The words before a command that inject errors into its calls on some files."""
    if shutil.which("strace") is None:
        why = "strace is not here: sudo apt-get install strace"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    if subprocess.run(["strace", "-qq", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this kernel does not let us trace")

    def words(folder: Path, log: Path, calls: str, when: int):
        paths = [w for n in ("", "-wal", "-shm") for w in ("-P", str(folder / f"journal.db{n}"))]
        inject = f"inject={calls}:error=EIO:when={when}"
        return [
            "strace",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-o",
            str(log),
            *paths,
            "-e",
            f"trace={calls}",
            "-e",
            inject,
        ]

    return words


@pytest.mark.slow
@pytest.mark.parametrize("calls", ["pwrite64", "fsync,fdatasync", "ftruncate,fallocate"])
def test_each_write_and_fsync_of_the_journal_fails_once(tmp_path, strace, calls):
    hit = 0
    for when in range(1, 200):
        folder = tmp_path / f"{when}"
        folder.mkdir()
        log = tmp_path / f"{when}.log"
        acknowledged, told = steps(folder, "r1", *strace(folder, log, calls, when))
        if "(INJECTED)" not in log.read_text():
            break  # a clean pass: there is no such call any more
        hit += 1
        is_whole(folder, "r1", acknowledged)
        assert "whole" in acknowledged or told.startswith("Unable to"), told
        again, told = in_this_process(folder, "r2")
        assert again[-1] == "whole", told
        is_whole(folder, "r1", acknowledged)
    assert "whole" in acknowledged
    assert hit >= 2, "the fault missed"


@pytest.mark.slow
def test_a_failing_journal_ends_the_command_with_a_clear_error(tmp_path, strace, lab_dir):
    root = lab_dir(FILES)
    failed = 0
    for when in (1, 6, 14, 24, 36):
        env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / f"state{when}")}
        folder, log = tmp_path / f"state{when}/strata/full", tmp_path / f"{when}.log"
        words = strace(folder, log, "pwrite64", when)
        done = converge(root, env, *words)
        assert "mistake in Strata" not in done.stderr
        if "(INJECTED)" in log.read_text() and done.returncode:
            failed += 1
            assert done.returncode == 1, done.stderr
            assert "journal" in done.stderr + done.stdout
        again = converge(root, env)
        assert again.returncode == 0, again.stderr
    assert failed >= 3
