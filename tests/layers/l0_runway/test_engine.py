"""What L0 sees of a Docker engine."""

import os
import socket
from dataclasses import replace

import pytest

from lab.layer import Target
from lab.model.host import Host
from layers.l0_runway import planner
from layers.l0_runway.drivers.local.driver import LocalDriver
from layers.l0_runway.spec import Document, Inputs, Spec


def document(address, **machine):
    return {"provider": {"kind": "docker", "host": address}, "machine": machine}


def findings(driver, target):
    return {f.what: (f.level.value, f.detail) for f in planner.findings(driver.observe(target))}


def test_a_container_needs_no_emulator_and_reserves_nothing(target_of):
    spec = target_of(document("unix:///x", memory="900TiB", disks={"root": {"size": "1PiB"}})).spec
    assert (spec.emulator, spec.engine, spec.memory, spec.disks) == (False, "unix:///x", 0, 0)
    assert target_of(document(None)).spec.engine == ""
    assert target_of({"provider": {"kind": "qemu"}}).spec.engine is None


def test_no_engine_is_one_finding_with_what_mends_it(workspace, target_of, tmp_path):
    target = target_of(document(f"unix://{tmp_path}/none"))
    observed = LocalDriver(workspace).observe(target)
    plan = planner.plan(target, observed, frozenset())
    (blocker,) = [b for b in plan.blockers if b.what == "docker engine"]
    assert blocker.why == f"no Docker engine listens at unix://{tmp_path}/none"
    assert "systemctl start docker" in blocker.hint
    assert "kvm" not in findings(LocalDriver(workspace), target)


@pytest.mark.engine
def test_a_real_engine(engine, workspace, target_of):
    found = findings(LocalDriver(workspace), target_of(document(engine)))
    level, detail = found["docker engine"]
    assert level == "pass"
    assert f"at {engine}, storage driver" in detail
    assert "qemu-img" not in found


@pytest.mark.engine
def test_a_port_is_its_own_hosts_or_the_container_that_has_it_is_named(sandbox, workspace):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    host = sandbox.host("l0", ports={port: 8080})
    spec = Spec.of(Document.model_validate(document(sandbox.engine, ports={port: 8080})))
    lab = host.container.removeprefix("strata-").removesuffix("-l0")
    driver = LocalDriver(replace(workspace, lab=lab))

    def seen_by(name):
        target = Target(Host(name, "web", "box"), spec, Inputs())
        return findings(driver, target)[f"port 127.0.0.1:{port}/tcp"]

    assert seen_by("l0") == ("pass", "free")
    assert seen_by("other") == ("fail", f"in use by the container {host.container}")
    host.remove()
    with socket.socket() as program:
        program.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        program.bind(("127.0.0.1", port))
        program.listen()
        level, detail = seen_by("l0")
    assert level == "fail"
    assert f"(pid {os.getpid()})" in detail
