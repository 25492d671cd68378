"""Real builds: about a minute each, from this machine's own package sources."""

import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.errors import DriverError, Interrupted
from lab.layer import silent
from layers.l1_image import planner
from layers.l1_image.drivers.debian.driver import DebianDriver
from layers.l1_image.drivers.debian.store import Images

pytestmark = [
    pytest.mark.build,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="mmdebstrap is not installed"),
]
_ROOT = 129 << 20


@pytest.fixture
def apply(workspace):
    driver = DebianDriver(workspace)

    def once(target):
        (change,) = planner.plan(target, driver.observe(target), frozenset()).changes
        driver.apply(target, change)
        return driver.observe(target)

    return once


def read(disk, path):
    """A file of the root filesystem inside the raw disk."""
    argv = ["debugfs", "-R", f"cat {path}", f"{disk}?offset={_ROOT}"]
    return subprocess.run(argv, capture_output=True, check=True, text=True).stdout


def test_a_suite_becomes_a_disk_that_can_boot(apply, workspace, target_of, tmp_path):
    said = []
    section = {
        "base": "debian-13",
        "packages": ["jq"],
        "files": {"/etc/strata-test": {"content": "hello\n", "mode": "0600"}},
        "kernel_parameters": ["strata.test=1"],
    }
    target = target_of(section, report=lambda doing, done=None, total=None: said.append(doing))
    observed = apply(target)

    assert not planner.plan(target, observed, frozenset())
    baseline = observed.baseline
    assert baseline.complete
    assert (baseline.distribution, baseline.release) == ("debian", "13")
    assert baseline.packages["jq"]
    assert baseline.units["ssh.service"] == "enabled"
    assert baseline.units["apt-daily.timer"] == "masked"
    assert baseline.users["root"].uid == 0
    assert len(baseline.conffiles["/etc/sudoers"]) == 64
    assert {"download packages", "install packages"} <= set(said)

    raw = tmp_path / "disk.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", observed.path, raw], check=True)
    table = json.loads(
        subprocess.run(["sfdisk", "--json", raw], capture_output=True, check=True).stdout
    )["partitiontable"]
    esp, root = table["partitions"]
    assert table["label"] == "gpt"
    assert root["start"] * 512 == _ROOT
    entry = subprocess.run(
        ["mtype", "-i", f"{raw}@@{esp['start'] * 512}", "::/loader/entries/debian.conf"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert f"root=PARTUUID={root['uuid'].lower()}" in entry
    assert "panic=5" in entry
    assert "strata.test=1" in entry
    assert read(raw, "/etc/strata-test") == "hello\n"
    assert not read(raw, "/etc/machine-id")
    assert (
        "ssh_host"
        not in subprocess.run(
            ["debugfs", "-R", "ls /etc/ssh", f"{raw}?offset={_ROOT}"],
            capture_output=True,
            check=True,
            text=True,
        ).stdout
    )
    subprocess.run(["e2fsck", "-fn", f"{raw}?offset={_ROOT}"], check=True, capture_output=True)
    left = {p.name for p in (workspace.state / "images").iterdir()}
    assert left == {target.spec.name, f".lock-{target.spec.name}"}
    assert not os.access(observed.path, os.W_OK) or os.geteuid() == 0


def test_a_package_that_does_not_exist_is_named_and_nothing_is_left(apply, workspace, target_of):
    target = target_of({"base": "debian-13", "packages": ["no-such-package-here"]})
    with pytest.raises(DriverError) as caught:
        apply(target)
    assert "debian-13 has no package no-such-package-here" in caught.value.message
    log = workspace.cache / "build-logs" / f"{target.spec.name}.log"
    assert str(log) in caught.value.hint
    assert "no-such-package-here" in log.read_text()
    assert [p.name for p in (workspace.state / "images").iterdir()] == [f".lock-{target.spec.name}"]


def test_stopping_a_build_leaves_nothing(apply, workspace, target_of):
    def stop(doing, done=None, total=None):
        if doing == "download packages":
            workspace.cancelled.set()

    with pytest.raises(Interrupted):
        apply(target_of({"base": "debian-13"}, report=stop))
    assert [p.name for p in (workspace.state / "images").glob("[!.]*")] == []
    assert not list((workspace.state / "images").glob(".building-*"))
    assert builders(workspace) == []


KILLED = """
import pathlib, sys
from lab.layer import Target, Workspace
from lab.model.host import Host
from layers.l1_image import planner
from layers.l1_image.drivers.debian.driver import DebianDriver
from layers.l1_image.spec import Image, Inputs, Spec

root = pathlib.Path(sys.argv[1])
workspace = Workspace("t", root, root / "state", root / "cache", root / "run")
spec = Spec.of(Image.model_validate({"base": "debian-13"}))
report = lambda doing, done=None, total=None: print(doing, flush=True)
target = Target(Host("web1", "web", "box"), spec, Inputs(), report=report)
driver = DebianDriver(workspace)
(change,) = planner.plan(target, driver.observe(target), frozenset()).changes
driver.apply(target, change)
"""


def builders(workspace):
    """Processes that work in a folder of the build."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(workspace.state):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_nothing_of_a_killed_build_goes_on_and_the_next_clears_it(workspace):
    argv = [sys.executable, "-c", KILLED, workspace.root]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as building:
        for line in building.stdout:
            if line.startswith("download packages"):
                break
        alive = {pid: os.pidfd_open(pid) for pid in builders(workspace)}
        assert alive
        building.kill()
    for handle in alive.values():
        assert select.select([handle], [], [], 30)[0], "a part of the killed build still runs"
        os.close(handle)
    images = Images(workspace)
    (left,) = images.folder.glob(".building-*")
    assert not any(str(left) in line for line in Path("/proc/mounts").read_text().splitlines())
    with images.building("another", silent, 5):
        assert not left.exists()
