"""A dump that ended as if all were well, and is not: what the databases' own words tell."""

import gzip
import shutil
import sqlite3
import subprocess

import pytest

from lab.model.outcome import ExitCode
from lab.recovery.dumps import Dump

SQLITE = "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE t (n);\n"
LOCKED = "/**** ERROR: (5) database is locked *****/\nROLLBACK; -- due to errors\n"
PG = "--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n\nSET x = 0;\n"
CLUSTER = "--\n-- PostgreSQL database cluster dump\n--\n\nSET x = 0;\n"
MARIA = "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19  Distrib 11.8\n--\n"
MYSQL = "-- MySQL dump 10.13  Distrib 8.0.44\n--\n"
ROWS = "INSERT INTO t VALUES (1);\n" * 9000
WHOLE = [
    SQLITE + ROWS + "COMMIT;\n",
    PG + ROWS + "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n\n",
    CLUSTER + PG + ROWS + "--\n-- PostgreSQL database cluster dump complete\n--\n\n",
    MARIA + ROWS + "-- Dump completed on 2026-11-30  1:00:00\n",
    MYSQL + ROWS + "-- Dump completed\n",
    "any other text\n",
    "",
]
GAVE_UP = "sqlite3 gave up in the middle of it, and ended as if all were well"
CUT = [
    (SQLITE + LOCKED, f"{GAVE_UP}: (5) database is locked"),
    (SQLITE + ROWS + LOCKED.splitlines()[1], GAVE_UP),
    (SQLITE + ROWS, "it begins as sqlite3 writes, and does not end as sqlite3 ends"),
    (PG + ROWS, "it begins as pg_dump writes, and does not end as pg_dump ends"),
    (CLUSTER + ROWS, "it begins as pg_dump writes, and does not end as pg_dump ends"),
    (MARIA + ROWS, "it begins as mysqldump writes, and does not end as mysqldump ends"),
    (MYSQL + ROWS, "it begins as mysqldump writes, and does not end as mysqldump ends"),
]


def trouble(content, size):
    seen = Dump()
    for start in range(0, len(content), size):
        seen.feed(memoryview(content)[start : start + size])
    return seen.trouble


def packed(content):
    half = len(content) // 2
    return gzip.compress(content[:half]) + gzip.compress(content[half:])


@pytest.mark.parametrize("size", [7, 5000, 1 << 20])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, packed])
def test_what_ends_is_believed_and_what_does_not_is_not(pack, size):
    for text in WHOLE:
        assert trouble(pack(text.encode()), size) == ""
    for text, why in CUT:
        assert trouble(pack(text.encode()), size) == why


def test_gzips_data_may_not_break_off_or_be_damaged():
    whole = gzip.compress(WHOLE[0].encode())
    assert trouble(whole[:-9], 100) == "gzip's data breaks off"
    bad = bytearray(whole)
    bad[-6] ^= 1
    assert "damaged" in trouble(bytes(bad), 100)
    assert trouble(gzip.compress(bytes(30 << 20)), 1 << 20) == ""


@pytest.mark.skipif(not shutil.which("sqlite3"), reason="needs the sqlite3 program")
def test_the_real_sqlite3_of_a_locked_database(tmp_path):
    db = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    db.execute("create table t (n)")
    command = ["sqlite3", tmp_path / "app.db", ".dump"]
    assert trouble(subprocess.run(command, capture_output=True, check=True).stdout, 100) == ""
    db.execute("begin exclusive")
    done = subprocess.run(command, capture_output=True, check=False)
    assert "database is locked" in trouble(done.stdout, 100)


def test_a_dump_that_gave_up_is_kept_and_never_counts(here):
    text = (SQLITE + LOCKED).replace("\n", "\\n")
    made = here(f""", dump: "printf '{text}'", restore: cat""")
    report = made.capture()
    assert report.exit_code is ExitCode.FAILED
    (record,) = report.records
    assert record.flagged.startswith("its dump is not whole: sqlite3 gave up")


@pytest.mark.parametrize(
    "dump", ["false | cat; echo more", "false\\necho more", "cat /nowhere/at/all | gzip"]
)
def test_a_dump_fails_with_the_first_of_its_commands(here, dump):
    made = here(f""", dump: "{dump}", restore: cat""")
    report = made.capture()
    assert report.exit_code is ExitCode.FAILED
    assert not report.records
    assert not made.listing().captures


def test_what_holds_it_still_fails_with_the_first_of_its_commands(here):
    after = here().data.parent / "after"
    made = here(
        f""", quiesce: {{before: "false | cat\\necho more", after: "false\\ntouch {after}"}}"""
    )
    report = made.capture()
    assert report.exit_code is ExitCode.FAILED
    assert not made.listing().captures
    assert after.exists()
