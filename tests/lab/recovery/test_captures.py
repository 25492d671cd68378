"""Captures of this machine with a real restic: taken, killed, damaged, too small."""

import os
import shutil
import subprocess

import pytest

from lab.clients.restic import Restic
from lab.errors import DriverError
from lab.model.outcome import ExitCode
from lab.recovery import reading

POINTS = [
    "capture.before_look",
    "capture.after_dump",
    "capture.reading",
    "capture.after_files",
    "capture.before_manifest",
    "capture.after_manifest",
    "capture.after_record",
]


def test_what_is_captured_reads_back_as_it_was(here):
    made = here(", dump: 'echo all of it', restore: cat", store=False)
    report = made.capture()
    assert report.exit_code is ExitCode.OK
    (record,) = report.records
    assert (record.host, record.data, record.files) == ("me", "things", 2)
    with made.lab() as lab:
        (capture,) = lab.captures.listing().captures
        manifest = reading.verified(lab.captures.repository, capture)
        assert lab.captures.verify(lab.select(), ["things"]).exit_code is ExitCode.OK
        assert lab.captures.known()[0].verified is not None
        (fresh, _) = lab.captures.freshness(lab.select())
    assert fresh.stale == ""
    assert [e.path for e in manifest.entries] == [
        str(made.data), f"{made.data}/a", f"{made.data}/b"
    ]  # fmt: skip
    assert manifest.stream("dump").size == len("all of it\n")
    assert manifest.root == record.root


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_capture_that_is_killed_at_any_step_counts_only_once_it_is_whole(here, point):
    after = here().data.parent / "after"
    made = here(
        f", dump: echo x, restore: cat, quiesce: {{before: 'true', after: 'touch {after}'}}"
    )
    done = made.run("capture", "host=me", "data=things", fault=point)
    assert done.returncode == -9, "the fault did not happen"
    store_made = made.store.exists()
    listing = made.listing() if store_made else None
    whole = point in {"capture.after_manifest", "capture.after_record"}
    assert len(listing.captures if listing else ()) == whole
    if point in {"capture.reading", "capture.after_files"}:
        subprocess.run(
            ["timeout", "10", "sh", "-c", f"until [ -e {after} ]; do :; done"], check=True
        )
    again = made.run("capture", "host=me", "data=things")
    assert again.returncode == 0, again.stderr
    assert len(made.listing().captures) == 1 + whole
    assert made.run("captures", "verify", "data=things").returncode == 0


@pytest.mark.slow
def test_an_empty_or_suddenly_tiny_source_is_flagged_20_times(here):
    made = here()
    assert made.capture().exit_code is ExitCode.OK
    good = made.listing().captures[0].snapshot
    flagged = 0
    for turn in range(20):
        shutil.rmtree(made.data)
        made.data.mkdir()
        if turn % 2:
            (made.data / "a").write_bytes(b"x" * turn)
        report = made.capture()
        flagged += report.exit_code is ExitCode.FAILED and bool(report.records[0].flagged)
    assert flagged == 20
    kept = made.listing()
    assert kept.of("me", "things", good=True)[0].snapshot == good
    assert made.capture(accept_small=True).exit_code is ExitCode.OK
    assert made.capture().exit_code is ExitCode.OK, "small is the measure now"


def test_a_source_that_is_not_there_is_no_empty_capture(here):
    made = here()
    shutil.rmtree(made.data)
    report = made.capture()
    assert report.exit_code is ExitCode.FAILED
    assert "does not exist" in report.run.parts[0].failure.message
    assert made.listing().captures == ()


def test_a_wrong_password_is_refused_before_anything_is_read(here):
    made = here()
    made.capture()
    subprocess.run(["chmod", "-R", "u+w", str(made.store)], check=True)
    with made.lab() as lab:
        lab.secrets.rotate("restic")
    done = made.run("captures", "verify", "data=things")
    assert done.returncode == 1
    assert "the password does not open the repository" in done.stdout + done.stderr
    report = made.capture()
    assert report.exit_code is ExitCode.FAILED
    shutil.rmtree(made.store / "keys")
    with made.lab() as lab, pytest.raises(DriverError):
        lab.captures.listing()


def test_the_password_is_nowhere_to_be_seen_while_it_is_used(here, tmp_path):
    made = here()
    pattern = tmp_path / "pattern"
    with made.lab() as lab:
        pattern.write_text(lab.secrets.reveal("restic"))
    look = f"cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | grep -acFf {pattern} || :"
    made = here(f", dump: '{look}', restore: cat")
    assert made.capture().exit_code is ExitCode.OK
    with made.lab() as lab:
        repository = lab.captures.repository
        manifest = repository.manifest(lab.captures.listing().captures[0])
        with repository.content(manifest.stream("dump")) as pieces:
            assert int(b"".join(pieces)) == 0


def test_what_the_next_capture_remembers_of_the_repository_is_what_restic_lists(here, monkeypatch):
    made = here()
    made.capture()
    asked = []
    run = Restic._answer
    monkeypatch.setattr(
        Restic,
        "_answer",
        lambda self, words, *rest: asked.append(words[0]) or run(self, words, *rest),
    )
    made.capture()
    assert asked == []  # neither to list, nor to see that it is there
    with made.lab() as lab:
        repository = lab.captures.repository
        told, known = repository.listing(), repository.listing(remembered=True)
    assert asked == ["snapshots"]
    assert known == told
    assert [c.number for c in told.captures] == [2, 1]


def test_a_snapshot_that_came_from_elsewhere_is_asked_for(here):
    made = here()
    made.capture()
    with made.lab() as lab:
        password = lab.secrets.reveal("restic")
    env = {**os.environ, "RESTIC_PASSWORD": password, "RESTIC_REPOSITORY": str(made.store)}
    words = ["restic", "--no-cache", "backup", "-q", "--tag", "theirs", str(made.data)]
    subprocess.run(words, env=env, check=True)
    with made.lab() as lab:
        restic = lab.captures.repository.restic
        assert len(restic.snapshots("theirs", remembered=True)) == 1
