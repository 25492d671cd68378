"""F13: a journal that cannot be right is refused with the reason, and stays as it is."""

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.journal import Journal, Owned

JOURNALS = sorted((Path(__file__).parent / "journals").glob("*.sql"))
THING = Owned("new", "l2", "", "qemu", "web", "box", "{}")


def made(folder, sql):
    db = sqlite3.connect(folder / "journal.db")
    db.executescript("PRAGMA journal_mode=WAL;" + sql.read_text())
    db.close()
    return folder / "journal.db"


@pytest.mark.parametrize("sql", JOURNALS, ids=lambda p: p.stem)
def test_each_older_journal_is_read_unchanged_and_written_on(tmp_path, sql):
    path = made(tmp_path, sql)
    before = path.read_bytes()
    journal = Journal(tmp_path)
    cut, whole = journal.runs(5)
    assert (cut.ended, whole.exit_code, whole.changes, whole.who) == (None, 0, 9, "me@box")
    assert whole.seconds > 0
    past = journal.run(whole.run)
    assert len(past.changes) == 9
    assert all(c.ok and c.seconds >= 0 and c.change.fields for c in past.changes[:2])
    assert {p.report.outcome.value for p in past.parts} == {"changed", "unchanged"}
    assert [c.ok for c in journal.run(cut.run).changes] == [None]
    assert set(journal.scores()) == ({"web1"} if sql.stem >= "2" else set())
    assert len(journal.captures()) == len(journal.drills()) == (1 if sql.stem >= "3" else 0)
    assert journal.named(whole.run[-6:]) == [whole.run]
    assert journal.changes_of("web1")[0].run == cut.run
    journal.close()
    assert path.read_bytes() == before, "reading wrote"
    number = journal.begin_change("r", ("web1", "l3_system", ""), "create", "thing")
    journal.end_change(number, ok=True, seconds=1.0)
    journal.own(THING)
    journal.keep_score("new", 1, 1)
    assert THING in journal.ledger()
    assert journal.runs(1)[0].run == cut.run


def columns(path):
    db = sqlite3.connect(path)
    names = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
    found = {name: db.execute(f"PRAGMA table_info({name})").fetchall() for name in names}
    db.close()
    return found


def test_the_newest_dump_is_of_the_tables_that_are_written_now(tmp_path):
    journal = Journal(tmp_path)
    journal.begin_run("r", "converge", ["a"], None)
    journal.begin_change("r", ("a", "l1", ""), "create", "thing")
    journal.close()
    now = columns(tmp_path / "journal.db")
    (tmp_path / "old").mkdir()
    old = columns(made(tmp_path / "old", JOURNALS[-1]))
    assert now == {k: v for k, v in old.items() if k in now}, (
        "the schema changed: keep a dump of a real journal beside the others"
    )


def refused(folder, *, writing, match):
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    journal = Journal(folder)
    with pytest.raises(LabError, match=match) as caught:
        journal.own(THING) if writing else journal.runs(5)
    journal.close()
    assert "Traceback" not in str(caught.value)
    assert caught.value.hint
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before


@pytest.mark.parametrize("writing", [False, True])
def test_a_half_copied_journal_is_refused_at_every_length(tmp_path, writing):
    whole = made(tmp_path, JOURNALS[-1]).read_bytes()
    page = 4096
    lengths = {1, 15, 16, 50, 99, 100, 101, 511, 512, 1024, len(whole) - 1, len(whole) - page}
    lengths |= set(range(page, len(whole), page)) | set(range(777, len(whole), 3333))
    for length in sorted(lengths):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / "journal.db").write_bytes(whole[:length])
        refused(folder, writing=writing, match="Unable to open the journal .*: it is cut short")
    assert len(lengths) > 20


@pytest.mark.parametrize("writing", [False, True])
def test_a_newer_journal_is_refused_also_after_a_crash(tmp_path, writing):
    """A log of a killed run is beside it: merely opening and closing it would fold that in."""
    path = made(tmp_path / ".", JOURNALS[-1])
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA user_version=2")
    db.close()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("INSERT INTO owned VALUES ('x','l','','d','p','b','{}',1.0)")
    cut = tmp_path / "cut"
    cut.mkdir()
    for name in ("journal.db", "journal.db-wal"):
        shutil.copy(tmp_path / name, cut / name)
    db.close()
    refused(cut, writing=writing, match=r"a newer Strata wrote it \(format 2, this one knows 1\)")


@pytest.mark.parametrize("writing", [False, True])
def test_another_programs_database_is_refused(tmp_path, writing):
    db = sqlite3.connect(tmp_path / "journal.db")
    db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.commit()
    db.close()
    refused(tmp_path, writing=writing, match="it is another program's database")


@pytest.mark.parametrize("writing", [False, True])
def test_flipped_pages_are_an_error_in_plain_words(tmp_path, writing):
    path = made(tmp_path, JOURNALS[-1])
    body = bytearray(path.read_bytes())
    body[4096:] = b"\xa5" * (len(body) - 4096)
    path.write_bytes(body)
    refused(tmp_path, writing=writing, match="Unable to (open|read|write) the journal")


def test_a_file_that_was_never_begun_is_empty_not_wrong(tmp_path):
    (tmp_path / "journal.db").touch()
    assert Journal(tmp_path).runs(5) == []
    assert (tmp_path / "journal.db").read_bytes() == b""
    Journal(tmp_path).own(THING)
    assert Journal(tmp_path).ledger() == [THING]


@contextlib.contextmanager
def unwritable(folder):
    """The folder on a medium that cannot be written; without root by its permissions alone."""
    if os.geteuid() != 0:
        for path in (*folder.iterdir(), folder):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield
        folder.chmod(0o755)
        return
    bind = ["mount", "--bind", folder, folder]
    if subprocess.run(bind, check=False, capture_output=True).returncode != 0:
        pytest.skip("this root may not mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_read_only_journal_is_read_and_refuses_to_be_written(tmp_path):
    made(tmp_path, JOURNALS[-1])
    with unwritable(tmp_path):
        journal = Journal(tmp_path)
        assert len(journal.runs(5)) == 2
        with pytest.raises(LabError, match=r"Unable to (write|open) the journal"):
            journal.own(THING)
        journal.close()


def test_the_dumps_are_real_and_anonymous():
    assert [p.stem for p in JOURNALS] == ["1-first", "2-scores", "3-captures", "4-details"]
    for path in JOURNALS:
        assert not re.search(r"/(home|root|work|tmp)/", path.read_text())
