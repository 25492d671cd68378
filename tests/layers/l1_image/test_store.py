import fcntl
import threading
from pathlib import Path

import pytest

from lab.errors import DeadlineExceeded, DriverError, Interrupted
from lab.layer import silent
from lab.model.baseline import Baseline
from lab.model.plan import Action
from layers.l1_image import planner
from layers.l1_image.drivers.debian import driver as driver_module
from layers.l1_image.drivers.debian.driver import DebianDriver
from layers.l1_image.drivers.debian.store import Images

SECTION = {"base": "debian-13", "packages": ["jq"]}


@pytest.fixture
def images(workspace):
    return Images(workspace)


@pytest.fixture
def place(images, workspace):
    """Put a template there without building it."""

    def put(target, content=b"disk"):
        with images.building(target.spec.name, silent, 5) as folder:
            (folder / "disk.qcow2").write_bytes(content)
            log = workspace.cache / "log"
            log.write_text("said")
            images.place(target.spec, folder, Baseline(complete=True, release="13"), log)
        return images.folder / target.spec.name

    return put


def use(folder, host):
    (folder / "users").mkdir(exist_ok=True)
    (folder / "users" / host).write_text("")


def test_what_was_placed_is_found_whole(workspace, place, target_of):
    target = target_of(SECTION)
    folder = place(target)
    assert {p.name for p in folder.iterdir()} == {
        *("disk.qcow2", "definition.json", "baseline.json", "build.log")
    }
    observed = DebianDriver(workspace).observe(target)
    assert observed.present
    assert observed.baseline.release == "13"
    assert observed.path == str(folder / "disk.qcow2")
    assert not planner.plan(target, observed, frozenset())
    assert not list(folder.parent.glob(".building-*"))


def test_observing_touches_nothing(workspace, target_of):
    before = sorted(workspace.root.rglob("*"))
    assert not DebianDriver(workspace).observe(target_of(SECTION)).present
    assert DebianDriver(workspace).unused(frozenset()) == ()
    assert sorted(workspace.root.rglob("*")) == before


def test_a_disk_that_was_cut_short_is_not_used(workspace, place, target_of):
    target = target_of(SECTION)
    disk = place(target) / "disk.qcow2"
    disk.chmod(0o600)
    disk.write_bytes(b"di")
    observed = DebianDriver(workspace).observe(target)
    assert (observed.present, observed.damaged) == (False, "its disk has 2 bytes instead of 4")


def test_the_template_that_a_host_lies_on_is_told_as_its_previous(workspace, place, target_of):
    old, new = target_of(SECTION), target_of({"base": "debian-13"})
    use(place(old), "web1")
    observed = DebianDriver(workspace).observe(new)
    assert observed.previous.name == old.spec.name
    (change,) = planner.plan(new, observed, frozenset()).changes
    assert change.reason == "definition changed"
    (field,) = change.fields
    assert (field.field, field.before, field.after) == ("packages", ["jq"], [])


def test_only_templates_that_nobody_uses_are_pruned(workspace, place, target_of):
    used, kept, spare = (
        target_of({"base": "debian-13", "packages": [p]}) for p in ("ab", "cd", "ef")
    )
    use(place(used), "web1")
    place(kept)
    folder = place(spare)
    driver = DebianDriver(workspace)
    (change,) = driver.unused(frozenset({kept.spec.name}))
    assert (change.action, change.what) == (Action.DELETE, f"template {spare.spec.name}")
    driver.prune(change)
    assert not folder.exists()
    assert driver.unused(frozenset({kept.spec.name})) == ()


def test_a_template_that_got_a_user_meanwhile_stays(workspace, place, target_of):
    folder = place(target_of(SECTION))
    driver = DebianDriver(workspace)
    (change,) = driver.unused(frozenset())
    use(folder, "web9")
    driver.prune(change)
    assert folder.exists()


def test_what_a_killed_build_left_is_cleared_by_the_next(images, place, target_of):
    images.folder.mkdir()
    left = images.folder / ".building-debian-13-000000000000"
    (left / "tree").mkdir(parents=True)
    place(target_of(SECTION))
    assert not left.exists()


def test_a_build_that_runs_is_not_cleared(images, place, target_of):
    images.folder.mkdir()
    runs = images.folder / ".building-other"
    runs.mkdir()
    with (images.folder / ".lock-other").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place(target_of(SECTION))
        assert runs.exists()


def test_waiting_for_another_run_ends_at_the_deadline(images):
    images.folder.mkdir()
    with (images.folder / ".lock-x").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (
            pytest.raises(DeadlineExceeded, match="another run"),
            images.building("x", silent, 0.1),
        ):
            pass


def test_waiting_for_another_run_ends_when_asked(images, workspace):
    images.folder.mkdir()
    workspace.cancelled.set()
    with (images.folder / ".lock-x").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Interrupted), images.building("x", silent, 60):
            pass


def test_a_failed_build_leaves_nothing(images):
    def fails(folder):
        (folder / "tree").mkdir()
        raise RuntimeError

    with pytest.raises(RuntimeError), images.building("x", silent, 5) as folder:
        fails(folder)
    assert [p.name for p in images.folder.iterdir()] == [".lock-x"]


def test_no_room_is_said_before_anything_is_done(workspace, target_of, monkeypatch):
    free = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr(driver_module.shutil, "disk_usage", lambda path: free)
    target = target_of(SECTION)
    (change,) = planner.plan(target, None, frozenset()).changes
    with pytest.raises(DriverError, match=r"3GiB of free space are needed .* there are 1MiB"):
        DebianDriver(workspace).apply(target, change)
    assert not list(Path(workspace.state / "images").glob("debian*"))


def test_two_threads_build_one_template_once(workspace, target_of, monkeypatch):
    builds = []

    def make(spec, recipe, folder, workspace, report, log):
        builds.append(spec.name)
        (folder / "tree").mkdir()
        (folder / "units.txt").write_text("")

    def disk(spec, folder, workspace, report):
        (folder / "disk.qcow2").write_bytes(b"x")

    monkeypatch.setattr(driver_module.tree, "make", make)
    monkeypatch.setattr(driver_module.disk, "make", disk)
    monkeypatch.setattr(driver_module.records, "read", lambda tree, units: Baseline())
    driver, target = DebianDriver(workspace), target_of(SECTION)
    (change,) = planner.plan(target, None, frozenset()).changes
    threads = [threading.Thread(target=driver.apply, args=(target, change)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert builds == [target.spec.name]
