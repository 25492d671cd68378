"""Copies of boot disks that need no running QEMU; the rest is in tests/e2e."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.abilities import Imaging
from lab.errors import DriverError
from lab.layer import Workspace
from layers.l2_instantiate.drivers.docker.driver import DockerDriver
from layers.l2_instantiate.drivers.qemu import QemuDriver, bootdisk, building, images
from layers.l2_instantiate.drivers.qemu.folder import Folder
from layers.l2_instantiate.drivers.qemu.power import Power

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img")
MIB = 1024**2


@pytest.fixture
def host(workspace: Workspace, make_host: Any, tmp_path: Path) -> Any:
    """A machine that is off, its disk an overlay with something on it."""
    made = make_host(workspace, QemuDriver(workspace))
    template = tmp_path / "images/debian-13-aaaa/disk.qcow2"
    template.parent.mkdir(parents=True)
    images.make_blank(template, 64 * MIB, "template")
    write(template, MIB, "T")
    made.inputs = made.inputs.model_copy(update={"template": str(template)})
    building.make_machine(made.target(), Folder(workspace, "web1"))
    write(Folder(workspace, "web1").root, 2 * MIB, "W")
    return made


def write(disk: Path, at: int, letter: str) -> None:
    words = ["qemu-io", "-f", "qcow2", "-c", f"write -P {ord(letter)} {at} 64k", disk]
    subprocess.run(words, check=True, capture_output=True)


def raw(disk: Path, to: Path) -> bytes:
    subprocess.run(["qemu-img", "convert", "-O", "raw", disk, to], check=True)
    with to.open("rb") as file:
        return file.read(3 * MIB)


def test_template_and_overlay_become_one_file(host: Any, tmp_path: Path) -> None:
    home = Folder(host.workspace, "web1").home
    with host.driver.boot_disk(host.target(), live=False) as disk:
        assert images.read_header(disk.path).backing is None  # type: ignore[union-attr]
        found = raw(disk.path, tmp_path / "raw")
        assert (disk.quiesced, disk.how) == (False, "off, as it was left")
        assert disk.path.is_relative_to(home)
    assert found[MIB : MIB + 4] + found[2 * MIB : 2 * MIB + 4] == b"TTTTWWWW"
    assert not (home / ".capture").exists()


def test_what_a_killed_call_left_is_cleared(host: Any) -> None:
    left = Folder(host.workspace, "web1").home / ".capture"
    left.mkdir()
    (left / "overlay.qcow2").write_bytes(b"x" * MIB)
    with host.driver.boot_disk(host.target(), live=True) as disk:
        assert sorted(p.name for p in left.iterdir()) == [disk.path.name]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether it was started again, and whether the user's wish to stop was in its way."""
    calls: list[bool] = []

    def start(self: Power) -> None:
        calls.append(self._workspace.cancelled.is_set())

    monkeypatch.setattr(Power, "start", start)
    return calls


@pytest.mark.parametrize(("said", "quiesced"), [("in order", True), ("", False)])
def test_a_machine_that_a_killed_call_left_off_runs_again(
    said: str, quiesced: Any, host: Any, started: list[bool]
) -> None:
    mark = Folder(host.workspace, "web1").home / ".stopped"
    mark.write_text(said)
    with host.driver.boot_disk(host.target(), live=False) as disk:
        assert disk.quiesced is quiesced
    assert started == [False]
    assert not mark.exists()


def test_it_runs_again_although_copying_failed_and_somebody_wants_to_stop(
    host: Any, started: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(host.workspace, "web1")
    (folder.home / ".stopped").write_text("in order")
    host.workspace.cancelled.set()

    def fails(*_: Any, **__: Any) -> None:
        raise DriverError("no space")

    monkeypatch.setattr(bootdisk, "run", fails)
    with (
        pytest.raises(DriverError, match="no space"),
        host.driver.boot_disk(host.target(), live=False),
    ):
        pass
    assert started == [False]
    assert not (folder.home / ".stopped").exists()
    assert not (folder.home / ".capture").exists()


def test_a_machine_that_does_not_come_up_again_is_told_and_its_copy_is_kept(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Power) -> None:
        raise DriverError("it panics")

    monkeypatch.setattr(Power, "start", fails)
    mark = Folder(host.workspace, "web1").home / ".stopped"
    mark.write_text("in order")
    with host.driver.boot_disk(host.target(), live=False) as disk:
        assert str(disk.trouble) == "it panics"
        assert disk.path.exists()
    assert mark.exists(), "the next call would start it again"


def test_no_room_is_said_before_anything_is_stopped(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = type("Usage", (), {"free": 1})
    monkeypatch.setattr(bootdisk.shutil, "disk_usage", lambda path: free)
    with (
        pytest.raises(DriverError, match="of free space are needed"),
        host.driver.boot_disk(host.target(), live=False),
    ):
        pass


def test_who_can_is_a_matter_of_type(workspace: Workspace) -> None:
    assert isinstance(QemuDriver(workspace), Imaging)
    assert not isinstance(DockerDriver(workspace), Imaging)
