"""Boot disks that stay at their provider: captured, listed, looked for, dropped."""

import contextlib
from dataclasses import dataclass, field, replace

import pytest

from lab import faults
from lab.errors import DriverError
from lab.model.outcome import ExitCode
from lab.model.template import Archive, Archived, ArchiveState
from lab.recovery import archives
from lab.recovery.manifest import Manifest, merkle_root
from layers.l2_instantiate.drivers import existing


class Killed(BaseException):
    """As if the process had ended there."""


@dataclass
class Store:
    """Where archives are kept, somewhere else."""

    kept: dict = field(default_factory=dict)
    retired: set = field(default_factory=set)
    asked: list = field(default_factory=list)
    state: ArchiveState = field(default_factory=lambda: ArchiveState(told="nobody has read it"))
    unfinished: str = ""
    refuses: bool = False
    trouble: DriverError | None = None


@pytest.fixture
def store(monkeypatch):
    """This machine, as if its provider kept archives of its boot disk."""
    made = Store()

    class WithArchives(existing.ExistingDriver):
        @contextlib.contextmanager
        def archive(self, target, name, known, *, live):
            name, made.unfinished = made.unfinished or name, ""
            made.asked.append((live, known))
            size = 4096 + len(made.kept)
            archive = Archive(name, 1e9 + len(made.asked), "https://x", "n", "s", f"s:{name}", size)
            made.kept[name] = archive
            how = "running: as after a power cut" if live else "shut down in order"
            yield Archived(archive, not live, how, made.trouble)

        def inspect(self, target, archive):
            if archive.id not in made.kept:
                return ArchiveState(f"{archive.volume} is not there any more")
            return made.state

        def retire(self, target, archives):
            if made.refuses:
                raise DriverError("Unable to note it: no.")
            made.retired |= {a.id for a in archives}

        def sweep(self, target, known, also=()):
            gone = [n for n in made.kept if n in made.retired and n not in known]
            for name in gone:
                del made.kept[name]
            return tuple(gone)

    monkeypatch.setattr(existing, "ExistingDriver", WithArchives)
    return made


@pytest.fixture
def place(here):
    made = here()
    text = (made.root / "personas/p.yaml").read_text()
    (made.root / "personas/p.yaml").write_text(text.replace("last: 99", "last: 2, daily: 0"))
    return made


def take(place, **more):
    with place.lab() as lab:
        return lab.capture_disks("host=me", **more)


def listed(place):
    with place.lab() as lab:
        return [c.id for c in lab.captures.listing().of("me", "disk")]


def verified(place):
    with place.lab() as lab:
        return lab.captures.verify(lab.select("host=me"), ["disk"])


def test_a_capture_says_where_it_lies_and_holds_none_of_it(place, store):
    report = take(place)
    (record,) = report.records
    assert (report.exit_code, record.size, record.files) == (ExitCode.OK, 4096, 0)
    (note,) = report.notes["me", "disk"]
    assert "only where it lies is kept here" in note
    with place.lab() as lab:
        (capture,) = lab.captures.listing().of("me", "disk")
        manifest = lab.captures.repository.manifest(capture)
    assert archives.is_archived(capture)
    assert archives.archive_of(manifest) == store.kept[capture.id]
    assert (manifest.streams, manifest.facts["how"]) == ((), "shut down in order")
    assert manifest.root == merkle_root((), manifest.whole)
    assert merkle_root((), "") != manifest.root, "who knows no archives must not believe it"


def test_looking_for_it_says_what_was_not_read(place, store):
    take(place)
    report = verified(place)
    (record,) = report.records
    assert (report.exit_code, record.verified) == (ExitCode.OK, None)
    assert report.notes["me", "disk"] == (
        "nobody has read it; its content cannot be read from here",
    )
    assert report.run.parts[0].applied == ("there, 4KiB",)
    store.state = ArchiveState(read=1e9, told="read by the backup server")
    assert verified(place).records[0].verified == 1e9


def test_one_that_is_gone_or_differs_is_no_capture_to_rely_on(place, store):
    take(place)
    store.state = ArchiveState("s:x has 1KiB now, and had 4KiB")
    report = verified(place)
    assert report.exit_code is ExitCode.FAILED
    assert "and had 4KiB" in report.run.parts[0].failure.message
    store.kept.clear()
    failure = verified(place).run.parts[0].failure
    assert "is not there any more" in failure.message
    assert failure.hint == "lab capture host=me --disk"


def test_old_ones_go_with_their_archives(place, store):
    for live in (False, True, False):
        assert take(place, live=live).exit_code is ExitCode.OK
    left = listed(place)
    assert sorted(left) == sorted(store.kept)
    assert len(left) == 2
    assert [live for live, _ in store.asked] == [False, True, False]
    assert len(store.asked[-1][1]) == 2, "it is told which are captures already"


@pytest.mark.parametrize("where", ["archives.retired", "archives.dropped"])
def test_what_a_crash_leaves_half_dropped_the_next_time_ends(place, store, monkeypatch, where):
    take(place)
    take(place)

    def point(name):
        if name == where:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(faults, "point", point)
        with pytest.raises(Killed):
            take(place)
    assert len(store.kept) == 3
    known = listed(place)
    assert set(known) <= set(store.kept), "a capture without its archive"
    with place.lab() as lab:
        lab.captures.tidy(lab.select("host=me"))
    assert sorted(listed(place)) == sorted(store.kept)
    assert len(store.kept) == 2


def test_one_whose_run_was_killed_is_the_capture_that_was_begun(place, store):
    store.unfinished = "f" * 32
    take(place)
    assert listed(place) == ["f" * 32]
    with place.lab() as lab:
        (capture,) = lab.captures.listing().of("me", "disk")
    assert capture.at == 1e9 + 1, "when it was begun"


def test_what_cannot_be_marked_keeps_its_capture_and_is_told(place, store):
    take(place)
    take(place)
    store.refuses = True
    report = take(place)
    assert report.exit_code is ExitCode.OK
    assert "is kept: Unable to note it: no" in report.notes["me", "disk"][-1]
    assert len(listed(place)) == len(store.kept) == 3
    with place.lab() as lab, pytest.raises(DriverError, match="Unable to remove all that is to go"):
        lab.captures.tidy(lab.select("host=me"))
    store.refuses = False
    with place.lab() as lab:
        (gone,) = lab.captures.tidy(lab.select("host=me"))
    assert gone.data == "disk"
    assert len(listed(place)) == len(store.kept) == 2


def test_a_repository_that_was_lost_costs_no_archive(place, store, tmp_path):
    take(place)
    take(place)
    before = set(store.kept)
    with place.lab() as lab:
        gone = lab.captures.listing().captures
        lab.captures.repository.drop(gone)
    take(place)
    with place.lab() as lab:
        lab.captures.tidy(lab.select("host=me"))
    assert before < set(store.kept)


def test_a_machine_that_did_not_start_again_is_told_when_the_capture_is_kept(place, store):
    store.trouble = DriverError("Unable to start me: it panics.")
    report = take(place)
    assert report.exit_code is ExitCode.FAILED
    assert len(listed(place)) == 1


def test_no_template_is_made_where_nobody_reaches_the_archive(place, store):
    take(place)
    with place.lab() as lab:
        made = lab.recovery.template_of("me", "p")
    assert made.run.exit_code is ExitCode.REFUSED


def test_an_older_manifest_is_read_and_a_newer_one_keeps_what_it_says():
    manifest = Manifest(lab="l", host="h", persona="p", data="disk", id="i", at=1.0)
    assert Manifest.read(manifest.written()).archive == {}
    where = {"place": "", "node": "n", "storage": "s", "volume": "v"}
    told = replace(manifest, archive={"id": "i", "at": 1.0, "size": 1, **where})
    assert archives.archive_of(Manifest.read(told.written())).volume == "v"
