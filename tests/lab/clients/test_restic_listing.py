"""What a repository in a folder listed last: told only while the same snapshots lie there."""

import json
import stat

import pytest

from lab.clients.restic_listing import Remembered, Snapshot

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def one(name, *tags):
    return Snapshot(name, 5.0, "media1", frozenset(tags), ("/files.tar",), 12)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "store/snapshots").mkdir(parents=True)

    def lie(*names):
        for name in names:
            (tmp_path / "store/snapshots" / name).touch()
        return Remembered(tmp_path / "store", tmp_path / "kept")

    lie.folder, lie.kept = tmp_path / "store", tmp_path / "kept"
    return lie


def test_what_was_kept_and_added_is_told(store):
    known = store(A, B)
    assert known.read() is None
    known.keep([one(A, "x=1", "y")])
    assert known.read() is None
    known.add(one(B))
    assert sorted(known.read(), key=lambda s: s.id) == [one(A, "x=1", "y"), one(B)]
    assert [stat.S_IMODE(f.stat().st_mode) for f in store.kept.iterdir()] == [0o600]


def test_a_snapshot_that_somebody_removed_is_not_told_any_more(store):
    known = store(A, B)
    known.keep([one(A), one(B)])
    (store.folder / "snapshots" / B).unlink()
    assert known.read() == [one(A)]


def test_a_snapshot_that_somebody_else_added_ends_it(store):
    known = store(A)
    known.keep([one(A)])
    store(B)
    assert known.read() is None


@pytest.mark.parametrize(
    "text", ["", "{", '["a"]', json.dumps([A, 5, "h", 7, [], 1]), f'["{A}", 5, "h", [], []']
)
def test_a_file_that_is_damaged_is_as_none(store, text):
    known = store(A)
    known.keep([one(A)])
    (file,) = store.kept.iterdir()
    file.write_text(text)
    assert known.read() is None


def test_one_that_has_grown_far_beyond_the_repository_is_made_anew(store):
    known = store(A)
    known.keep([one(A), one(B), one(C)])
    assert known.read() is None


def test_a_repository_that_has_gone_or_lies_elsewhere_is_never_told(store, tmp_path):
    known = Remembered(None, tmp_path / "kept")
    known.keep([one(A)])
    known.add(one(A))
    assert known.read() is None
    gone = Remembered(tmp_path / "none", tmp_path / "kept")
    gone.keep([])
    assert gone.read() is None
    assert Remembered(store.folder, None).read() is None


def test_nothing_is_added_where_no_listing_was_kept(store):
    known = store(A)
    known.add(one(A))
    assert known.read() is None
    assert not store.kept.exists()
