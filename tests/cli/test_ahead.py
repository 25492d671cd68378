"""What is begun ahead: the same words over the same files, and nothing else."""

import json
import os

import pytest

from lab.cli import ahead
from lab.clients import shell_ahead
from lab.clients.shell_ahead import Opening

OPENING = Opening(("ssh", "web1"), ("/run/known-{pid}-x", "strata-web1 ssh-ed25519 AAAA\n"))


@pytest.fixture
def lab(lab_dir, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    return lab_dir({"lab.yaml": "name: a\n", "personas/web.yaml": "{}", "inventory/h.yaml": "{}"})


@pytest.fixture
def run(lab, monkeypatch):
    """A command with these words that needs one login; returns what was begun ahead of it."""

    def call(words="look", needs=(OPENING,), raises=None):
        begun = []
        monkeypatch.setattr(shell_ahead, "begin", begun.extend)
        monkeypatch.setattr(shell_ahead, "opened", lambda: list(needs))
        with ahead.begun(str(lab), words):
            if raises is not None:
                raise raises
        return begun

    return call


def test_nothing_the_first_time_and_the_same_the_next_time(run):
    assert run() == []
    assert run() == [OPENING]
    assert run(needs=()) == [OPENING]
    assert run() == []


def test_other_words_are_another_matter(run):
    run("look host=web1")
    assert run("look host=web2") == []
    assert run("look host=web1") == [OPENING]


@pytest.mark.parametrize("name", ["lab.yaml", "personas/web.yaml", "inventory/h.yaml"])
def test_an_edit_means_that_nothing_is_begun(run, lab, name):
    run()
    (lab / name).write_text("{} # edited")
    assert run() == []
    assert run() == [OPENING]


@pytest.mark.parametrize("name", ["personas/new.yaml", "personas/web/files/a", "inventory/b.yaml"])
def test_so_does_a_new_file(run, lab, name):
    run()
    (lab / name).parent.mkdir(parents=True, exist_ok=True)
    (lab / name).write_text("x")
    assert run() == []


def test_a_command_that_failed_notes_nothing(run):
    with pytest.raises(ValueError, match="no"):
        run(raises=ValueError("no"))
    assert run() == []


def notes():
    return list((ahead.Path(os.environ["XDG_CACHE_HOME"]) / "strata/ahead").iterdir())


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{", '{"format": 2}', '{"format": 1, "stamp": 3}', "\x00\xff", '"ssh"',
     '{"format": 1, "stamp": STAMP, "openings": [{"argv": "ssh"}]}',
     '{"format": 1, "stamp": STAMP, "openings": [{"argv": ["sh", "-c", "x"], "known": ["", ""]}]}',
     '{"format": 1, "stamp": STAMP, "openings": 5}'],
)  # fmt: skip
def test_a_damaged_note_is_as_good_as_none(run, body):
    run()
    (note,) = notes()
    stamp = json.loads(note.read_text())["stamp"]
    note.write_text(body.replace("STAMP", json.dumps(stamp)), encoding="latin-1")
    assert run() == []
    assert run() == [OPENING]


def test_a_note_that_others_may_write_is_not_read(run):
    run()
    (note,) = notes()
    assert note.stat().st_mode & 0o077 == 0
    note.chmod(0o622)
    assert run() == []


def test_old_notes_go(run, monkeypatch):
    monkeypatch.setattr(ahead, "_MOST_NOTES", 3)
    for number in range(6):
        run(f"look host=web{number}")
    assert len(notes()) == 3


def test_no_lab_and_no_cache_are_no_problem(run, lab, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert run() == []
    (lab / "lab.yaml").unlink()
    assert run() == []
