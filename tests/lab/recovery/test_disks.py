"""Boot disks in the repository: stored, listed, read back, dropped; and what is refused."""

import contextlib
import hashlib
import os

import pytest

from lab.cli import main
from lab.errors import DriverError, PlanError
from lab.model.outcome import ExitCode
from lab.model.template import BootDisk
from layers.l2_instantiate.drivers import existing

CONTENT = os.urandom(3_000_000)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """This machine, as if its boot disk were a file; tells how often it was read, and how."""
    asked = []
    disk = tmp_path / "disk.qcow2"
    disk.write_bytes(CONTENT)

    class WithDisk(existing.ExistingDriver):
        @contextlib.contextmanager
        def boot_disk(self, target, *, live):
            asked.append(live)
            if len(asked) > 3:
                raise PlanError("Unable to copy it.")
            target.report("copying")
            how = "running" if live else "shut down in order"
            trouble = DriverError("it panics") if len(asked) == 2 else None
            yield BootDisk(disk, not live, how, trouble)

    monkeypatch.setattr(existing, "ExistingDriver", WithDisk)
    return asked


def take(place, **more):
    with place.lab() as lab:
        return lab.capture_disks("host=me", **more)


def test_disks_are_stored_listed_read_back_and_dropped(here, machine):
    place = here()
    text = (place.root / "personas/p.yaml").read_text()
    (place.root / "personas/p.yaml").write_text(text.replace("last: 99", "last: 2, daily: 0"))
    for live, code in ((False, 0), (False, 1), (True, 0)):
        report = take(place, live=live)
        assert report.exit_code == code
        (record,) = report.records
        assert (record.data, record.size, record.files) == ("disk", len(CONTENT), 0)
    assert "its filesystem is not settled" in report.notes["me", "disk"][0]
    failed = take(place)
    assert failed.exit_code is not ExitCode.OK
    assert machine == [False, False, True, False]
    with place.lab() as lab:
        newest, older = lab.captures.listing().of("me", "disk")
        assert (newest.number, older.number) == (3, 2)
        manifest = lab.captures.repository.manifest(older)
        assert (manifest.quiesced, manifest.facts["how"]) == (True, "shut down in order")
        assert manifest.streams[0].sha256 == hashlib.sha256(CONTENT).hexdigest()
        verified = lab.captures.verify(lab.select("host=me"), ["disk"])
        assert verified.exit_code is ExitCode.OK
        assert verified.records[0].verified
        assert "disk" not in [f.data for f in lab.captures.freshness(lab.select("host=me"))]
        made = lab.recovery.template_of("me", "p")
        assert (made.run.exit_code, made.template) == (ExitCode.REFUSED, "")
        assert "nobody here makes templates of disks" in made.run.parts[0].failure.message


def test_a_machine_that_hands_no_disk_out_is_refused_in_plain_words(here):
    report = take(here())
    (part,) = report.run.parts
    assert report.exit_code is ExitCode.REFUSED
    assert "machines of kind existing do not hand theirs out" in part.failure.message
    assert part.failure.hint.startswith("lab capture host=me")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--disk"], "say whose boot disk"),
        (["--disk", "host=me", "data=things"], "--disk goes with hosts"),
        (["--disk", "host=me", "--accept-small"], "--disk goes with hosts"),
        (["--live", "host=me"], "--live goes with --disk"),
    ],
)
def test_words_that_contradict_each_other_are_refused(words, said, capsys):
    assert main.run(["capture", *words]) not in {0, 1}
    assert said in capsys.readouterr().err
