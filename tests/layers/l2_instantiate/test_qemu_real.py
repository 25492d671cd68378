"""A real machine, from nothing to nothing. Minutes without KVM: one machine serves all tests.

Each test declares a difference and converges, from whatever the one before left; run alone, it
starts from nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.errors import DeadlineExceeded
from lab.layer import Workspace
from layers.l2_instantiate import planner
from layers.l2_instantiate.drivers.qemu import QemuDriver, process
from layers.l2_instantiate.drivers.qemu.folder import Folder
from layers.l2_instantiate.drivers.qemu.images import read_header
from layers.l2_instantiate.drivers.qemu.power import Patience
from layers.l2_instantiate.network import pick_port
from layers.l2_instantiate.spec import Inputs

pytestmark = [pytest.mark.vm, pytest.mark.slow]
MARK = "kept across every restart"


class Real:
    """The one machine, its driver, and a shell on it."""

    def __init__(self, host: Any) -> None:
        self.host = host

    def __getattr__(self, name: str) -> Any:
        return getattr(self.host, name)

    @property
    def folder(self) -> Folder:
        return Folder(self.host.workspace, self.host.name)

    def process(self) -> process.Process | None:
        record = self.folder.read()
        return process.find(self.folder, record) if record else None

    def run(self, command: str) -> str:
        """As a user would: only the key that the lab made for it is accepted."""
        target = self.host.target()
        handed = planner.outputs(target, self.host.driver.observe(target))
        known = self.host.workspace.root / "known_hosts"
        known.write_text(f"[{handed.address}]:{handed.port} {handed.host_key}\n")
        options = ["StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "BatchMode=yes"]
        answer = subprocess.run(
            ["ssh", "-F", "none", "-i", handed.identity_file]
            + [word for option in options for word in ("-o", option)]
            + ["-p", str(handed.port), f"{handed.user}@{handed.address}", command],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    def kill_lab_at(self, fault: str) -> None:
        """Converge in a process of its own, which dies at that point."""
        script = textwrap.dedent("""
            import json, sys
            from pathlib import Path
            from lab.layer import Target, Workspace
            from lab.model.host import Host
            from layers.l2_instantiate import planner
            from layers.l2_instantiate.drivers.qemu import QemuDriver
            from layers.l2_instantiate.network import pick_port
            from layers.l2_instantiate.spec import Inputs, Spec
            paths, name, spec, inputs = json.loads(sys.argv[1])
            driver = QemuDriver(Workspace("demo", *map(Path, paths)))
            host = Host(name, "web", "box")
            target = Target(host, Spec.model_validate(spec), Inputs.model_validate(inputs))
            plan = planner.plan(target, driver.observe(target), driver.replace_on)
            for change in plan.changes:
                driver.apply(target, change)
        """)
        w, target = self.host.workspace, self.host.target()
        words = [
            [str(p) for p in (w.root, w.state, w.cache, w.runtime)],
            self.host.name,
            target.spec.model_dump(mode="json"),
            target.inputs.model_dump(mode="json"),
        ]
        ended = subprocess.run(
            [sys.executable, "-c", script, json.dumps(words)],
            env={**os.environ, "STRATA_FAULT": fault},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.fixture(scope="module")
def real(
    tmp_path_factory: pytest.TempPathFactory, make_host: Callable[..., Any], template: Path
) -> Iterator[Real]:
    place = tmp_path_factory.mktemp("real")
    runtime = tmp_path_factory.mktemp("r")
    workspace = Workspace("demo", place, place / "state", place / "cache", runtime)
    host = make_host(workspace, QemuDriver(workspace))
    host.inputs = Inputs(accelerator="tcg", template=str(template), template_name="debian-13-a")
    host.machine["ports"] = {}
    machine = Real(host)
    yield machine
    found = machine.process()
    if found is not None:
        found.kill()
    host.converge(absent=True, with_data=True)
    workspace.close()


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.stat().st_size)
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_created_although_the_lab_dies_three_times_on_the_way(real: Real) -> None:
    for fault in ("l2.machine.marked", "l2.machine.root", "l2.start.started"):
        real.kill_lab_at(fault)
    assert real.process() is not None, "QEMU outlives the lab"
    assert real.converge() == ["update boot"]
    assert real.run("hostname; sudo id -u").split() == ["web1", "0"]
    assert real.run("lsblk -bno SIZE /dev/disk/by-id/virtio-data") == str(1024**3)


def test_observing_changes_nothing_and_takes_milliseconds(real: Real) -> None:
    real.converge()
    names = {"serial.log", "root.qcow2", "data.qcow2"}  # the guest's own writing
    before = {k: v for k, v in contents(real.workspace.state).items() if Path(k).name not in names}
    began = time.monotonic()
    for _ in range(10):
        assert not real.plan()
    assert (time.monotonic() - began) / 10 < 0.1
    after = {k: v for k, v in contents(real.workspace.state).items() if Path(k).name not in names}
    assert after == before


def test_in_place_while_it_runs(real: Real) -> None:
    real.converge()
    pid = real.process().pid
    port = pick_port()
    real.declare(ports={port: 22}, disks={"data": {"size": "2GiB"}})
    assert real.converge() == ["update disk data", "update ports"]
    assert real.process().pid == pid
    assert real.run("lsblk -bno SIZE /dev/disk/by-id/virtio-data") == str(2 * 1024**3)
    with real.process().monitor("web1") as monitor:
        monitor.monitor(f"hostfwd_remove net0 tcp:127.0.0.1:{port}")
    assert real.converge() == ["update ports"]
    real.declare(ports={})
    assert real.converge() == ["update ports"]


def test_killed_and_more_memory_and_a_larger_root_in_one_boot(real: Real) -> None:
    real.converge()
    real.process().kill()
    assert [c.what for c in real.plan().changes] == ["power"]
    impatient = QemuDriver(real.workspace, Patience(boot=1.0))
    with pytest.raises(DeadlineExceeded, match="after 1 s it runs, and its SSH is silent"):
        impatient.apply(real.target(), real.plan().changes[0])
    assert [c.what for c in real.plan().changes] == ["boot"]
    real.process().kill()

    real.declare(memory="1280MiB", disks={"root": {"size": "7GiB"}})
    assert real.converge() == ["update disk root", "update machine", "update power"]
    assert int(real.run("grep MemTotal /proc/meminfo").split()[1]) > 1.1 * 1024**2
    assert int(real.run("df -B1 --output=size / | tail -1")) > 6.5 * 1024**3


def test_more_processors_by_a_restart_in_order(real: Real) -> None:
    real.converge()
    real.run(f"echo {MARK} | sudo dd of=/dev/disk/by-id/virtio-data conv=fsync status=none")
    real.declare(cpu=1)
    (change,) = real.plan().changes
    assert change.interrupts == "web1 restarts"
    real.converge()
    assert real.run("nproc") == "1"
    read = "sudo head -c 100 /dev/disk/by-id/virtio-data | tr -d '\\0'"
    assert real.run(read) == MARK
    real.declare(cpu=2)


def test_destroyed_data_is_kept_until_it_is_asked_for_by_name(real: Real) -> None:
    real.converge()
    users = Path(real.host.inputs.template).parent / "users" / "web1"
    assert users.exists()
    assert real.converge(absent=True) == ["delete machine"]
    assert real.process() is None
    assert read_header(real.folder.disk("data")) is not None
    assert real.converge(absent=True, with_data=True) == ["delete disk data"]
    left = [k for k in contents(real.workspace.state) if not k.startswith("keys/lab")]
    assert left == []
    assert list(real.workspace.runtime.iterdir()) == []
    assert not users.exists()
    assert real.driver.observe(real.target()) is None
