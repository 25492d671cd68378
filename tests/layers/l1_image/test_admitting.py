"""A boot disk becomes a template: on a small real filesystem, with e2fsprogs and qemu-img alone."""

import hashlib
import os
import shutil
import subprocess

import pytest

from lab.errors import DriverError
from lab.layer import silent
from lab.model.template import Candidate
from layers.l1_image import planner
from layers.l1_image.drivers.debian import driver as driver_module
from layers.l1_image.drivers.debian.driver import DebianDriver
from layers.l1_image.drivers.debian.ext4 import root_of

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
pytestmark = pytest.mark.skipif(
    any(shutil.which(p, path=PATH) is None for p in ("mke2fs", "debugfs", "sfdisk", "qemu-img")),
    reason="e2fsprogs, sfdisk or qemu-img is not installed",
)
_MIB = 1 << 20
CANARY = b"canary-of-a-private-key-0123456789"
UNITS = "ssh.service enabled enabled\ncron.service disabled enabled\n"
STATUS = """\
Package: base-files
Status: install ok installed
Version: 13.8
Conffiles:
 /etc/debian_version aaaa
 /etc/issue bbbb

Package: gone
Status: deinstall ok config-files
Version: 1
"""
FILES = {
    # stays
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nops:x:1000:1000::/home/ops:/bin/bash\n",
    "etc/group": "root:x:0:\nops:x:1000:\nsudo:x:27:ops\n",
    "etc/fstab": "LABEL=root / ext4 defaults 0 1\n/swap/file none swap sw,nofail 0 0\n",
    "etc/debian_version": "13.8\n",
    "usr/lib/os-release": 'ID=debian\nVERSION_ID="13"\n',
    "var/lib/dpkg/status": STATUS,
    "var/log/nginx/access.log": "192.0.2.1 was here\n",
    "home/ops/notes": "mine\n",
    "srv/start/.keep": "x",
    # goes
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/hostname": "web1\n",
    "etc/ssh/ssh_host_ed25519_key": CANARY.decode(),
    "home/ops/.ssh/authorized_keys": "ssh-ed25519 AAAA old\n",
    "var/lib/cloud/instances/web1/user-data.txt": CANARY.decode(),
    "var/lib/cloud/data/with space": "x",
    "var/lib/strata/owned": "+\tfile /etc/motd\n",
    "swap/file": "secrets of memory",
    "data/pictures/a/b/c.jpg": "data",
}  # fmt: skip
GONE = (
    "/etc/hostname", "/etc/ssh/ssh_host_*", "/home/*/.ssh/authorized_keys", "/var/lib/cloud/*",
    "/var/lib/strata/*", "/swap/file", "/data/pictures", "/var/log/nginx/*",
)  # fmt: skip


def write_disk(tree, disk, *, filesystem="ext4"):
    """A GPT disk with a small first partition and a root behind it, as a qcow2."""
    raw = disk.with_suffix(".raw")
    with raw.open("wb") as file:
        file.truncate(64 * _MIB)
    table = "label: gpt\nstart=1MiB, size=2MiB, type=U\nstart=3MiB, size=60MiB\n"
    env = {**os.environ, "PATH": PATH}
    subprocess.run(["sfdisk", "--quiet", raw], input=table.encode(), check=True, env=env)
    where = f"offset={3 * _MIB},root_owner=0:0"
    if filesystem == "ext4":
        words = ["mke2fs", "-q", "-t", "ext4", "-E", where, "-d", tree, raw, "60M"]
        subprocess.run(words, check=True, env=env)
    with raw.open("r+b") as file:
        file.seek(_MIB)
        file.write(b"the loader")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, disk], check=True)
    raw.unlink()


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "etc/issue").symlink_to("motd")  # a packaged file that became a link
    return folder


@pytest.fixture
def candidate(tree, tmp_path):
    def make(**more):
        disk = tmp_path / "captured.qcow2"
        write_disk(tree, disk, **more)
        return Candidate(
            name="web-0123456789ab",
            disk=disk,
            captured="web1@1a2b3c4d",
            checksum=f"sha256:{hashlib.sha256(disk.read_bytes()).hexdigest()}",
            remove=("/var/lib/strata/*", "/.strata/*", "/data/pictures", "/not/there/*"),
            units=UNITS,
        )

    return make


@pytest.fixture
def driver(workspace):
    return DebianDriver(workspace)


def opened(driver, workspace, tmp_path):
    """The template's root filesystem."""
    (kept,) = driver.templates()
    raw = tmp_path / "template.raw"
    disk = workspace.state / "images" / kept.name / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "raw", disk, raw], check=True)
    return kept, raw, root_of(raw, "the template", workspace)


def test_identity_goes_and_the_rest_stays(driver, workspace, candidate, tmp_path):
    driver.admit(candidate(), silent)
    kept, raw, root = opened(driver, workspace, tmp_path)
    assert root.matching(GONE) == []
    assert len(root.matching(["/var/log/nginx", "/home/ops/notes", "/srv/start/.keep"])) == 3
    there, table = tmp_path / "machine-id", tmp_path / "fstab"
    root.dump({"/etc/machine-id": there, "/etc/debian_version": tmp_path / "version"})
    root.dump({"/etc/fstab": table})
    assert table.read_text() == "LABEL=root / ext4 defaults 0 1\n"
    assert there.read_bytes() == b""
    assert (tmp_path / "version").read_text() == "13.8\n"
    assert raw.read_bytes()[_MIB : _MIB + 10] == b"the loader"
    fsck = ["e2fsck", "-fn", f"{raw}?offset={3 * _MIB}"]
    subprocess.run(fsck, check=True, capture_output=True, env={**os.environ, "PATH": PATH})
    assert (kept.captured, kept.users) == ("web1@1a2b3c4d", ())


def test_the_copies_of_its_superblock_are_good(driver, workspace, candidate, tmp_path):
    """A kernel reads them when the filesystem grows to the new machine's disk."""
    driver.admit(candidate(), silent)
    _, raw, _ = opened(driver, workspace, tmp_path)
    content, root = raw.read_bytes(), 3 * _MIB
    primary = content[root + 1024 : root + 2048]
    copy = content[root + 8193 * 1024 : root + 8194 * 1024]
    assert copy[56:58] == primary[56:58] == b"\x53\xef"
    assert copy[104:120] == primary[104:120], "of another filesystem"
    alone = tmp_path / "root.img"
    alone.write_bytes(content[root : root + 60 * _MIB])
    look = ["dumpe2fs", "-h", "-o", "superblock=8193", "-o", "blocksize=1024", alone]
    subprocess.run(look, check=True, capture_output=True, env={**os.environ, "PATH": PATH})


def test_no_byte_of_what_was_removed_is_left_on_the_disk(driver, workspace, candidate, tmp_path):
    one = candidate()
    whole = tmp_path / "before.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", one.disk, whole], check=True)
    assert CANARY in whole.read_bytes(), "the canary was never there"
    driver.admit(one, silent)
    _, raw, _ = opened(driver, workspace, tmp_path)
    assert CANARY not in raw.read_bytes()


def test_what_it_holds_is_recorded(driver, candidate):
    driver.admit(candidate(), silent)
    (kept,) = driver.templates()
    baseline = kept.baseline
    assert baseline.complete
    assert (baseline.distribution, baseline.release) == ("debian", "13")
    assert baseline.packages == {"base-files": "13.8"}
    assert baseline.users["ops"].groups == ("sudo",)
    assert baseline.units == {"ssh.service": "enabled", "cron.service": "disabled"}
    assert list(baseline.conffiles) == ["/etc/debian_version"]


def test_it_is_what_the_plan_finds_once_it_is_promoted(driver, candidate, target_of):
    target = target_of({"base": "debian-13", "template": "web-0123456789ab"})
    assert planner.plan(target, driver.observe(target), frozenset()).blockers
    driver.admit(candidate(), silent)
    observed = driver.observe(target)
    assert not planner.plan(target, observed, frozenset())
    assert planner.outputs(target, observed).baseline.packages == {"base-files": "13.8"}


def test_again_changes_nothing_and_pruning_must_be_asked_for(driver, candidate):
    one = candidate()
    driver.admit(one, silent)
    one.disk.unlink()
    driver.admit(one, silent)
    assert driver.unused(frozenset()) == ()
    assert driver.spare(frozenset({one.name})) == ()
    (change,) = driver.spare(frozenset())
    assert change.reason == "no host uses it; made of the capture web1@1a2b3c4d"
    driver.prune(change)
    assert driver.templates() == ()


def test_after_a_power_cut_the_filesystem_is_mended_first(driver, workspace, candidate, tmp_path):
    """A superblock that says that it was never unmounted."""
    one = candidate()
    raw = tmp_path / "cut.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", one.disk, raw], check=True)
    cut = ["debugfs", "-w", "-R", "ssv state 2", f"{raw}?offset={3 * _MIB}"]
    subprocess.run(cut, check=True, capture_output=True, env={**os.environ, "PATH": PATH})
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, one.disk], check=True)
    driver.admit(one, silent)
    assert opened(driver, workspace, tmp_path)[2].matching(GONE) == []


@pytest.mark.parametrize("name", ["a\nrm /etc/passwd\n", 'a" "b'])
def test_a_name_that_is_none_is_refused(name, driver, workspace, candidate, tree):
    (tree / "var/lib/cloud" / name.replace("/", "\\")).write_text("x")
    with pytest.raises(DriverError, match="holds a line break or a quote"):
        driver.admit(candidate(), silent)
    assert driver.templates() == ()
    assert not list((workspace.state / "images").glob(".building-*"))


def test_a_root_of_another_kind_is_refused(driver, candidate):
    with pytest.raises(DriverError, match="no root filesystem of the kind ext4"):
        driver.admit(candidate(filesystem="none"), silent)


def test_what_is_no_debian_is_refused(driver, candidate, tree):
    (tree / "var/lib/dpkg/status").unlink()
    with pytest.raises(DriverError, match="it has no /var/lib/dpkg/status"):
        driver.admit(candidate(), silent)
    assert driver.templates() == ()


def test_no_room_is_said_before_anything_is_done(driver, candidate, monkeypatch):
    free = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr(driver_module.shutil, "disk_usage", lambda path: free)
    with pytest.raises(DriverError, match="of free space are needed"):
        driver.admit(candidate(), silent)
    assert driver.templates() == ()
