"""Bad input on the real drivers: one clear message each, and nothing changed."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.vm


@pytest.fixture
def broken(tmp_path, real):
    """A lab of its own, never converged; ``real`` only lends the class."""
    return type(real)(tmp_path, "bad")


def refused(lab, *words, code=5):
    """Run it; it must end with that code and leave nothing behind."""
    done = lab.lab(*words, ok=(code,))
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert lab.qemu() == []
    assert not list(lab.base.glob("state/strata/bad/machines/*/root.qcow2"))
    return " ".join(said.split())


def test_a_port_in_use_names_who_holds_it(broken):
    with socket.socket() as other:
        other.bind(("127.0.0.1", broken.port))
        other.listen()
        said = refused(broken, "converge", "--yes", "--no-input")
    assert f"127.0.0.1:{broken.port}" in said
    assert str(os.getpid()) in said


def test_a_missing_qemu_is_told_with_the_line_that_installs_it(broken):
    folder = broken.base / "bin"
    folder.mkdir()
    for path in [*os.environ["PATH"].split(":"), "/usr/sbin", "/sbin"]:
        for program in Path(path).glob("*") if Path(path).is_dir() else ():
            if not program.name.startswith("qemu") and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    broken.env["PATH"] = str(folder)
    said = refused(broken, "converge", "--yes", "--no-input")
    assert "qemu-system-x86_64" in said
    assert "apt-get install" in said


def test_no_space_is_told_before_anything_is_made(broken):
    broken.overlay("disks: {data: {size: 900TiB}}")
    said = refused(broken, "plan", code=2)  # thin disks may promise more than there is: a warning
    assert "900TiB" in said or "free" in said


def test_a_state_folder_without_room_is_a_blocker(broken):
    small = broken.base / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)]
    if subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("a small file system can be mounted only by root")
    try:
        broken.env["XDG_STATE_HOME"] = str(small)
        said = refused(broken, "converge", "--yes", "--no-input")
        assert "free" in said
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_more_memory_than_there_is_is_a_blocker(broken):
    broken.overlay("memory: 900TiB")
    assert "memory" in refused(broken, "converge", "--yes", "--no-input")


def test_a_template_that_does_not_build_says_why_and_leaves_nothing(broken):
    text = (broken.root / "personas/web.yaml").read_text()
    broken.write("personas/web.yaml", text.replace("docker-cli", "no-such-package-at-all"))
    said = refused(broken, "converge", "--yes", "--no-input", code=1)
    assert "no-such-package-at-all" in said
    images = broken.state / "images"
    assert [p for p in images.iterdir() if p.is_dir()] == []
