"""Marks beside data: what they say, what an empty path may do; the scripts on a real filesystem."""

import os
import subprocess
from pathlib import Path

import pytest

from lab.model import standing
from lab.model.standing import Content, Marker, Seen, Standing, first_marks, unproven


@pytest.fixture
def disk(tmp_path):
    """A filesystem of its own, as data has one."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a filesystem")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def sh(script):
    return subprocess.run(["sh", "-eu"], input=script, capture_output=True, text=True, check=True)


def looked(*paths):
    return tuple(standing.seen(paths, sh(standing.look(paths)).stdout))


def fresh(path, since=5.0, **more):
    return Marker(str(path), "things", Standing.FRESH, since, **more)


def test_a_mark_lies_on_the_filesystem_of_its_data_and_is_read_back(disk):
    (disk / "full").mkdir()
    (disk / "full/.hidden").touch()
    paths = (f"{disk}/full", f"{disk}/it's empty", f"{disk}/not/there", str(disk))
    (disk / "it's empty").mkdir()
    assert [one.content for one in looked(*paths)] == ["full", "empty", "absent", "full"]
    marks = tuple(fresh(path, 7.5, snapshot="ab") for path in paths)
    sh(standing.FUNCTIONS + standing.write(marks))
    assert tuple(one.marker for one in looked(*paths)) == marks
    assert len(list((disk / ".strata/standing").iterdir())) == len(paths)
    assert (disk / ".strata").stat().st_mode & 0o777 == 0o700


def test_a_filesystem_that_holds_only_marks_is_empty(disk):
    sh(standing.FUNCTIONS + standing.write([fresh(disk)]))
    (disk / "lost+found").mkdir()
    assert looked(str(disk))[0].content is Content.EMPTY


def test_a_torn_mark_is_no_proof(disk):
    sh(standing.FUNCTIONS + standing.write([fresh(disk)]))
    (mark,) = (disk / ".strata/standing").iterdir()
    mark.write_text(mark.read_text()[:20])
    (one,) = looked(str(disk))
    assert unproven([one], None) == f"a restore of {disk} did not finish"


@pytest.mark.parametrize(
    ("content", "marker", "captured", "why"),
    [
        ("empty", None, None, ""),
        ("full", None, 9.0, ""),
        ("empty", None, 9.0, "is empty, and there are captures"),
        ("absent", None, 9.0, "is absent, and there are captures"),
        ("empty", fresh("/p", 5.0), 9.0, "is empty, and there are captures"),
        ("empty", fresh("/p", 9.5), 9.0, ""),
        ("full", fresh("/p", 5.0, state="restoring"), None, "did not finish"),
        ("empty", Marker("/p", "d", Standing.RESTORED, 99.0), 9.0, "is empty"),
        ("full", Marker("/p", "d", Standing.RESTORED, 99.0), 9.0, ""),
    ],
)
def test_nothing_starts_on_an_empty_path_that_has_captures(content, marker, captured, why):
    found = unproven([Seen("/p", Content(content), marker)], captured)
    assert (why in found) if why else not found


def test_what_was_there_is_adopted_and_the_rest_is_fresh():
    every = [
        Seen("/a", Content.FULL),
        Seen("/b", Content.ABSENT),
        Seen("/c", Content.FULL, fresh("/c")),
    ]
    assert [(m.path, m.standing) for m in first_marks(every, "d", 1.0)] == [
        ("/a", "adopted"), ("/b", "fresh")
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["/", "/srv/a b", "/srv/a%20b", "/" + "ä" * 400])
def test_each_path_has_a_name_of_its_own(path):
    name = standing.name_of(path)
    assert Path(name).name == name
    assert len(name.encode()) < 250
    assert name != standing.name_of("/srv/a")
