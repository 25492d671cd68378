"""A real container, from nothing to nothing, in seconds. One machine serves most tests.

Each test declares a difference and converges, from whatever the one before left; run alone, it
starts from nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.clients.docker import Engine
from lab.errors import DeadlineExceeded, DriverError
from lab.layer import Workspace
from layers.l2_instantiate import planner
from layers.l2_instantiate.drivers.docker import DockerDriver, containers
from layers.l2_instantiate.drivers.docker.power import Patience
from layers.l2_instantiate.network import pick_port
from layers.l2_instantiate.spec import Inputs

pytestmark = pytest.mark.engine
MARK = "kept across every rebuild"


class Real:
    """One host, its driver, its engine, and a shell on it."""

    def __init__(self, host: Any, engine: str) -> None:
        self.host, self.engine = host, Engine(engine)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.host, name)

    @property
    def container(self) -> str:
        return f"strata-{self.host.workspace.lab}-{self.host.name}"

    def found(self) -> containers.Found | None:
        return containers.find(self.engine, self.container, self.host.name)

    def docker(self, *words: str) -> str:
        argv = ["docker", "--host", self.engine.address, *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    def outputs(self) -> Any:
        target = self.host.target()
        return planner.outputs(target, self.host.driver.observe(target))

    def run(self, command: str) -> str:
        """As a user would: only the key that the lab made for it is accepted."""
        handed = self.outputs()
        known = self.host.workspace.root / "known_hosts"
        known.write_text(f"[{handed.address}]:{handed.port} {handed.host_key}\n")
        options = ["StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "BatchMode=yes"]
        answer = subprocess.run(
            ["ssh", "-F", "none", "-i", handed.identity_file]
            + [word for option in options for word in ("-o", option)]
            + ["-p", str(handed.port), f"{handed.user}@{handed.address}", command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    def kill_lab_at(self, fault: str, **flags: Any) -> None:
        """Converge in a process of its own, which dies at that point."""
        script = textwrap.dedent("""
            import json, sys
            from pathlib import Path
            from lab.layer import Target, Workspace
            from lab.model.host import Host
            from layers.l2_instantiate import planner
            from layers.l2_instantiate.drivers.docker import DockerDriver
            from layers.l2_instantiate.spec import Inputs, Spec
            lab, paths, name, spec, inputs, flags = json.loads(sys.argv[1])
            driver = DockerDriver(Workspace(lab, *map(Path, paths)))
            host = Host(name, "web", "box")
            spec, inputs = Spec.model_validate(spec), Inputs.model_validate(inputs)
            target = Target(host, spec, inputs, **flags)
            plan = planner.plan(target, driver.observe(target), driver.replace_on)
            for change in plan.changes:
                driver.apply(target, change)
        """)
        w, target = self.host.workspace, self.host.target(**flags)
        words = [
            w.lab,
            [str(p) for p in (w.root, w.state, w.cache, w.runtime)],
            self.host.name,
            target.spec.model_dump(mode="json"),
            target.inputs.model_dump(mode="json"),
            flags,
        ]
        ended = subprocess.run(
            [sys.executable, "-c", script, json.dumps(words)],
            env={**os.environ, "STRATA_FAULT": fault},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == -signal.SIGKILL, f"the fault missed: {ended.stderr}"

    def gone(self) -> None:
        self.host.converge(absent=True, with_data=True)

    def everything(self) -> list[str]:
        """What the engine has of this machine."""
        mark = f"label=strata.lab={self.host.workspace.lab}"
        found = self.docker("ps", "-aq", "--filter", mark)
        return [*found.split(), *self.docker("volume", "ls", "-q", "--filter", mark).split()]


@pytest.fixture(scope="module")
def make_real(
    tmp_path_factory: pytest.TempPathFactory, make_host: Callable[..., Any], sandbox: Any
) -> Iterator[Callable[..., Real]]:
    image, template = sandbox.template("plain")
    made: list[Real] = []

    def make(lab: str = "real") -> Real:
        place = tmp_path_factory.mktemp("real")
        folders = (place / "state", place / "cache", place / "run")
        workspace = Workspace(f"{lab}{os.getpid()}", place, *folders)
        host = make_host(workspace, DockerDriver(workspace))
        host.provider = {"kind": "docker", "name": "box", "host": sandbox.engine}
        host.inputs = Inputs(template=image, template_name=template)
        host.machine |= {"ports": {}, "cpu": 1, "memory": "256MiB"}
        host.declare(disks={"data": {"mount": "/srv"}})
        made.append(Real(host, sandbox.engine))
        return made[-1]

    yield make
    for real in made:
        real.gone()
        real.host.workspace.close()


@pytest.fixture(scope="module")
def real(make_real: Callable[..., Real]) -> Real:
    return make_real()


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.stat().st_size)
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


MAKING = ("volume.made", "container.claimed", "container.made", "container.injected")
STARTING = ("container.starting", "container.started")


def test_created_although_the_lab_dies_at_every_step_of_the_way(real: Real) -> None:
    for fault in MAKING:
        real.kill_lab_at(f"l2.{fault}")
        assert real.plan().changes, "what was not finished is still to do"
    for fault in STARTING:
        real.kill_lab_at(f"l2.{fault}")
    assert real.converge() == ["update boot"]
    assert real.run("hostname; sudo id -u; findmnt -no TARGET /srv").split() == [
        *("web1", "0", "/srv")
    ]
    real.run(f"echo {MARK} | sudo tee /srv/mark")


def test_observing_changes_nothing_and_takes_milliseconds(real: Real) -> None:
    real.converge()
    parts = ("Id", "State", "Config", "HostConfig")
    before = contents(real.workspace.state), [real.found().raw[p] for p in parts]
    began = time.monotonic()
    for _ in range(10):
        assert not real.plan()
    assert (time.monotonic() - began) / 10 < 0.1
    after = contents(real.workspace.state), [real.found().raw[p] for p in parts]
    assert after == before


def test_the_kernel_of_this_machine_is_out_of_reach(real: Real) -> None:
    real.converge()
    before = Path("/proc/sys/vm/swappiness").read_text()
    real.run(
        "! echo 1 | sudo tee /proc/sys/vm/swappiness; ! sudo tee /proc/sysrq-trigger </dev/null"
    )
    assert Path("/proc/sys/vm/swappiness").read_text() == before
    real.run("sudo sysctl -qw net.ipv4.ip_forward=1 kernel.hostname=web1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("drift", "planned"),
    [
        (("stop",), ["update power"]),
        (("kill",), ["update power"]),
        (("pause",), ["update power"]),
        (("rm", "--force"), ["create machine"]),
    ],
    ids=["stopped", "killed", "paused", "removed"],
)
def test_what_is_done_behind_its_back_is_named_and_mended(
    real: Real, drift: tuple[str, ...], planned: list[str]
) -> None:
    real.converge()
    before = real.outputs()
    real.run(f"echo {MARK} | sudo tee /srv/mark")
    real.docker(*drift, real.container)
    assert real.converge() == planned
    assert real.outputs() == before
    assert real.run("cat /srv/mark") == MARK


@pytest.mark.slow
def test_limits_and_logins_change_while_it_runs(real: Real, tmp_path: Path) -> None:
    real.converge()
    boot = real.run("cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestamp")
    real.declare(memory="512MiB", login={"user": "ops"})
    (change,) = real.plan().changes
    assert {f.field for f in change.fields} == {"memory", "user"}
    assert (change.interrupts, change.destroys) == ("", "")
    real.converge()
    assert real.found().memory == 512 * 1024**2
    assert real.run("id -un; sudo id -u").split() == ["ops", "0"]
    shutil.rmtree(real.workspace.state / "keys")
    assert real.converge() == ["update machine"]
    again = real.run("cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestamp")
    assert again == boot, "it did not restart"
    real.declare(memory="256MiB", login={"user": "strata"})


@pytest.mark.slow
def test_other_ports_are_another_container_on_the_same_data(real: Real) -> None:
    real.converge()
    before = real.outputs()
    real.run(f"echo {MARK} | sudo tee /srv/mark; sudo touch /var/of-the-old-root")
    port = pick_port()
    real.declare(ports={port: 22})
    (change,) = real.plan().changes
    assert change.action == "replace"
    assert change.reason == "a container gets its ports and disks when it is made"
    assert change.destroys == "root disk and all that is on it"
    real.converge()
    after = real.outputs()
    assert (after.host_key, after.port) == (before.host_key, before.port)
    assert after.endpoints == {"22": f"127.0.0.1:{port}"}
    with socket.create_connection(("127.0.0.1", port), 5) as line:
        assert line.recv(4) == b"SSH-"
    assert real.run("cat /srv/mark; ls /var/of-the-old-root 2>&1 || :").startswith(f"{MARK}\nls:")
    real.declare(ports={})


@pytest.mark.slow
def test_a_new_template_keeps_what_is_durable_and_empties_the_rest(real: Real) -> None:
    real.declare(disks={"scratch": {"size": "1GiB", "mount": "/scratch"}})
    real.converge()
    real.run(f"echo {MARK} | sudo tee /srv/mark /scratch/mark")
    before, inputs = real.outputs(), real.host.inputs
    real.host.inputs = inputs.model_copy(update={"template_name": "debian-13-next"})
    assert real.converge() == ["replace machine"]
    assert real.outputs().host_key == before.host_key
    assert real.run("cat /srv/mark; ls /scratch") == MARK
    real.host.inputs = inputs
    real.declare(disks={"scratch": "(none)"})
    assert real.converge() == ["replace machine", "delete disk scratch"]


@pytest.mark.slow
def test_a_disk_becomes_durable_by_a_mark_of_its_own(real: Real) -> None:
    real.converge()
    real.declare(disks={"data": {"durable": False}})
    assert real.converge() == ["update disk data"]
    real.declare(disks={"data": {"durable": True}})
    assert real.converge() == ["update disk data"]


@pytest.mark.slow
def test_a_volume_that_was_removed_by_hand_is_made_anew(real: Real) -> None:
    real.converge()
    real.docker("rm", "--force", real.container)
    real.docker("volume", "rm", f"{real.container}-data")
    assert real.converge() == ["create disk data", "create machine"]


@pytest.mark.slow
def test_a_lost_state_folder_costs_no_data(real: Real) -> None:
    real.converge()
    real.run(f"echo {MARK} | sudo tee /srv/mark")
    shutil.rmtree(real.workspace.state)
    (change,) = [c for c in real.plan().changes if c.what == "machine"]
    assert change.action == "update"
    real.converge()
    assert real.run("cat /srv/mark") == MARK


@pytest.mark.slow
def test_a_port_that_somebody_has_is_named_and_nothing_is_started(real: Real) -> None:
    real.converge()
    real.docker("stop", real.container)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", real.found().port))
        other.listen()
        with pytest.raises(DriverError, match=r"another program listens at .* its SSH"):
            real.driver.apply(real.target(), real.plan().changes[0])
    assert real.converge() == ["update power"]


@pytest.mark.slow
def test_one_that_does_not_answer_is_told_with_what_it_said(real: Real) -> None:
    real.converge()
    real.run("sudo systemctl mask --quiet ssh")
    real.docker("stop", real.container)
    impatient = DockerDriver(real.workspace, Patience(boot=3.0))
    with pytest.raises(DeadlineExceeded, match="after 3 s it runs, and its SSH is silent") as told:
        impatient.apply(real.target(), real.plan().changes[0])
    assert told.value.lines
    real.docker("exec", real.container, "systemctl", "unmask", "ssh")
    real.docker("exec", real.container, "systemctl", "start", "ssh")
    assert not real.plan()


@pytest.mark.slow
def test_one_that_ends_while_it_starts_is_told_with_what_it_said(real: Real) -> None:
    real.converge()
    real.docker("exec", real.container, "sh", "-c", "echo 'echo no way; exit 1' > /etc/first-start")
    real.docker("stop", real.container)
    with pytest.raises(DriverError, match="its container ended while it started") as told:
        real.driver.apply(real.target(), real.plan().changes[0])
    assert "no way" in told.value.lines
    real.docker("rm", "--force", real.container)
    assert real.converge() == ["create machine"]


@pytest.mark.slow
def test_what_another_made_is_left_alone(make_real: Callable[..., Real]) -> None:
    ours = make_real("other")
    image = ours.host.inputs.template
    stranger = ours.docker("create", "--name", ours.container, image, "true")
    ours.docker("volume", "create", f"{ours.container}-data")
    before = ours.docker("inspect", stranger)
    (blocker,) = ours.plan().blockers
    assert blocker.why == (
        f"the container {ours.container} exists already and does not say who made it"
    )
    ours.docker("rename", stranger, f"{ours.container}-away")
    (blocker,) = ours.plan().blockers
    assert blocker.why == (
        f"the volume {ours.container}-data exists already and does not say who made it"
    )
    assert ours.plan(absent=True, with_data=True).changes == ()
    ours.docker("rename", stranger, ours.container)
    assert json.loads(ours.docker("inspect", stranger)) == json.loads(before)

    (disk, machine) = ours.plan(adopt=True).changes
    assert (disk.what, machine.destroys) == (
        *("disk data", f"what lies in the container {ours.container}"),
    )
    for change in (disk, machine):
        ours.driver.apply(ours.target(adopt=True), change)
    assert not ours.plan()
    ours.gone()
    assert ours.docker("volume", "ls", "-q", "--filter", f"name={ours.container}") == ""


@pytest.mark.slow
def test_two_labs_stand_side_by_side(make_real: Callable[..., Real], real: Real) -> None:
    real.converge()
    twin = make_real("twin")
    twin.converge()
    assert twin.outputs().port != real.outputs().port
    assert twin.outputs().host_key != real.outputs().host_key
    twin.gone()
    assert twin.everything() == []
    assert not real.plan()
    assert real.run("hostname") == "web1"


def test_destroyed_data_is_kept_until_it_is_asked_for_by_name(real: Real) -> None:
    real.converge()
    real.run(f"echo {MARK} | sudo tee /srv/mark")
    real.kill_lab_at("l2.container.removed", absent=True)
    real.kill_lab_at("l2.container.forgetting", absent=True)
    assert real.converge(absent=True) == ["delete machine"]
    assert len(real.everything()) == 1
    assert real.converge() == ["create machine"]
    assert real.run("cat /srv/mark") == MARK
    change = real.plan(absent=True, with_data=True).changes[1]
    assert change.what == "disk data"
    assert change.destroys.startswith("disk data, ")
    real.gone()
    assert real.everything() == []
    left = [k for k in contents(real.workspace.state) if not k.startswith("keys/lab")]
    assert left == []
    assert real.driver.observe(real.target()) is None
