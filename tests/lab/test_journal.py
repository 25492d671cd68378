"""The record and the locks: what is written stays, reading writes nothing, locks die with us."""

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from lab.errors import LabError, Locked
from lab.journal import Journal, Owned, locked
from lab.model.outcome import Outcome, PartReport
from lab.model.recovered import CaptureRecord, DrillRecord

THING = Owned("a", "l2", "", "qemu", "web", "box", "{}")


def test_reading_what_was_never_written_creates_nothing(tmp_path):
    journal = Journal(tmp_path / "state")
    assert (journal.ledger(), journal.runs(5), journal.last_parts()) == ([], [], [])
    assert not (tmp_path / "state").exists()


def test_runs_and_parts_are_found_again_by_a_new_process(tmp_path):
    journal = Journal(tmp_path)
    journal.begin_run("r1", "converge", ["a", "b"], "abc")
    change = journal.begin_change("r1", ("a", "l1", ""), "create", "thing")
    journal.end_change(change, ok=True)
    journal.end_part("r1", PartReport("a", "l1", "", "toy", Outcome.CHANGED), "digest")
    journal.end_run("r1", 0)
    journal.close()
    run = Journal(tmp_path).runs(5)[0]
    assert (run.run, run.hosts, run.exit_code, run.changes) == ("r1", ("a", "b"), 0, 1)
    assert Journal(tmp_path).last_parts()[0].spec == "digest"


def test_the_ledger_takes_a_thing_once_and_gives_it_up(tmp_path):
    journal = Journal(tmp_path)
    journal.own(THING)
    journal.own(THING)
    assert journal.ledger() == [THING]
    journal.disown("a", "l2", "")
    assert journal.ledger() == []


def test_reading_leaves_no_files_behind(tmp_path):
    journal = Journal(tmp_path)
    journal.own(THING)
    journal.close()
    before = sorted(p.name for p in tmp_path.iterdir())
    reader = Journal(tmp_path)
    reader.ledger()
    reader.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_newer_journal_is_refused_and_left_as_it_is(tmp_path):
    db = sqlite3.connect(tmp_path / "journal.db")
    db.execute("PRAGMA user_version=99")
    db.close()
    before = (tmp_path / "journal.db").read_bytes()
    with pytest.raises(LabError, match="a newer Strata wrote it"):
        Journal(tmp_path).ledger()
    assert (tmp_path / "journal.db").read_bytes() == before


def test_a_file_that_is_no_journal_is_refused_in_plain_words(tmp_path):
    (tmp_path / "journal.db").write_bytes(b"not a database at all, just words" * 99)
    with pytest.raises(LabError, match="Unable to open the journal"):
        Journal(tmp_path).ledger()


def test_disjoint_hosts_are_locked_side_by_side(tmp_path):
    with locked(tmp_path, ["a"], "converge"), locked(tmp_path, ["b"], "converge"):
        assert {p.name for p in tmp_path.iterdir()} == {"a.lock", "b.lock"}


def test_all_or_none(tmp_path):
    with locked(tmp_path, ["b"], "converge"):
        both = locked(tmp_path, ["a", "b"], "converge")
        with pytest.raises(Locked, match=r"Unable to converge b: .*process"), both:
            pass
        with locked(tmp_path, ["a"], "converge"):
            pass


HOLD = """
import pathlib, signal, sys
from lab.journal import locked
with locked(pathlib.Path(sys.argv[1]), ["a"], "converge"):
    print("ready", flush=True)
    signal.pause()
"""


def test_a_killed_holder_needs_no_unlocking(tmp_path):
    run = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(run, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"ready\n"
        with pytest.raises(Locked, match=str(holder.pid)), locked(tmp_path, ["a"], "converge"):
            pass
        holder.kill()
        holder.wait(30)
        with locked(tmp_path, ["a"], "converge"):
            pass


def test_a_fault_point_kills_only_when_asked():
    code = "from lab import faults; faults.point('x.y'); faults.point('x.y'); print('alive')"
    run = [sys.executable, "-c", code]
    alive = subprocess.run(run, capture_output=True, text=True, check=True)
    assert alive.stdout == "alive\n"
    for wanted, status in (("x.y", -9), ("x.y@2", -9), ("x.y@3", 0), ("other", 0)):
        env = {**os.environ, "STRATA_FAULT": wanted}
        assert subprocess.run(run, env=env, check=False, capture_output=True).returncode == status


def test_scores_are_kept_and_the_last_one_counts(tmp_path):
    journal = Journal(tmp_path)
    journal.keep_score("a", 12, 4)
    journal.keep_score("a", 0, 0)
    journal.keep_score("b", 3, 1)
    journal.close()
    scores = Journal(tmp_path).scores()
    assert {h: (s.score, s.things) for h, s in scores.items()} == {"a": (0, 0), "b": (3, 1)}


def test_a_journal_from_before_there_were_scores_is_read_and_added_to(tmp_path):
    journal = Journal(tmp_path)
    journal.own(THING)
    before = (tmp_path / "journal.db").stat().st_mtime_ns
    assert journal.scores() == {}
    assert (tmp_path / "journal.db").stat().st_mtime_ns == before  # reading added nothing
    journal.keep_score("a", 1, 1)
    assert set(journal.scores()) == {"a"}
    assert journal.ledger() == [THING]
    journal.close()
    db = sqlite3.connect(tmp_path / "journal.db")
    assert db.execute("PRAGMA user_version").fetchone() == (1,)  # an older Strata still reads it
    db.close()


def test_no_journal_has_no_scores_and_asking_makes_none(tmp_path):
    assert Journal(tmp_path / "state").scores() == {}
    assert not (tmp_path / "state").exists()


def test_captures_and_drills_are_kept_newest_first(tmp_path):
    journal = Journal(tmp_path)
    assert (journal.captures(), journal.drills()) == ([], [])
    old = CaptureRecord("a", "start", 10.0, "s1", 3, 99, "root")
    new = CaptureRecord("a", "start", 20.0, "s2", 0, 0, "none", flagged="empty")
    for record in (new, old, replace(old, verified=30.0)):
        journal.keep_capture(record)
    drill = DrillRecord("a", 40.0, proved=True, rto=61.5, rpo=None, missing=2)
    journal.keep_drill(drill)
    journal.forget_capture("b", "s2")
    again = Journal(tmp_path)
    assert again.captures() == [new, replace(old, verified=30.0)]
    assert again.drills() == [drill]
    again.forget_capture("a", "s2")
    assert [c.snapshot for c in again.captures()] == ["s1"]
