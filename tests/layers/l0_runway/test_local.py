import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from layers.l0_runway import planner
from layers.l0_runway.drivers.local import driver as driver_module
from layers.l0_runway.drivers.local import kvm, ports
from layers.l0_runway.drivers.local.driver import LocalDriver
from layers.l0_runway.spec import Kvm, Port

DOCUMENT = {
    "provider": {"kind": "qemu"},
    "image": {"base": "debian-13"},
    "machine": {"memory": "128MiB", "disks": {"root": {"size": "1GiB"}}, "ports": {}},
}


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_observing_changes_nothing_but_the_memory_of_kvm(workspace, target_of):
    LocalDriver(workspace).observe(target_of(DOCUMENT))
    left = {p.relative_to(workspace.root).as_posix() for p in workspace.root.rglob("*")}
    assert left <= {"cache", "cache/kvm.json"}


def test_a_missing_tool_is_named_with_its_package(workspace, target_of, monkeypatch):
    found = shutil.which
    monkeypatch.setattr(
        driver_module.shutil,
        "which",
        lambda name, path=None: (
            None if name in {"mmdebstrap", "sfdisk"} else found(name, path=path)
        ),
    )
    observed = LocalDriver(workspace).observe(target_of(DOCUMENT))
    assert {"mmdebstrap", "fdisk"} <= {tool.package for tool in observed.missing}
    plan = planner.plan(target_of(DOCUMENT), observed, frozenset())
    assert {"mmdebstrap", "sfdisk"} <= {b.what for b in plan.blockers}
    assert "apt-get install" in plan.blockers[0].hint


def test_what_builds_templates_is_not_asked_for_where_none_is_built(workspace, target_of):
    cloud = {**DOCUMENT, "image": {"base": {"url": "https://x.lan/a", "checksum": "y"}}}
    observed = LocalDriver(workspace).observe(target_of(cloud))
    assert "mmdebstrap" not in {*observed.tools, *(tool.name for tool in observed.missing)}


def test_for_proxmox_tofu_is_asked_for_and_what_makes_disks(workspace, target_of, monkeypatch):
    there = {"ssh", "mmdebstrap", "sfdisk", "mke2fs", "unshare", "apt-config", "mcopy"}
    monkeypatch.setattr("shutil.which", lambda name, path=None: name if name in there else None)
    spec = target_of({"provider": {"kind": "qemu"}}).spec.model_copy(
        update={"emulator": False, "builds": "debian-13", "tofu": True}
    )
    seen = LocalDriver(workspace).observe(dataclasses.replace(target_of({}), spec=spec))
    assert {tool.name for tool in seen.missing} == {"qemu-img", "mkfs.vfat", "tofu"}
    there |= {"terraform", "qemu-img", "mkfs.vfat"}
    workspace.close()
    seen = LocalDriver(workspace).observe(dataclasses.replace(target_of({}), spec=spec))
    assert seen.missing == ()


def test_a_firmware_that_is_not_there_is_missed(workspace, target_of, tmp_path):
    named = {**DOCUMENT, "provider": {"kind": "qemu", "firmware": str(tmp_path / "no.fd")}}
    observed = LocalDriver(workspace).observe(target_of(named))
    assert "ovmf" in {tool.package for tool in observed.missing}


def test_room_is_asked_for_until_template_and_root_disk_are_there(workspace, target_of):
    driver, target = LocalDriver(workspace), target_of(DOCUMENT)
    gib = 1 << 30
    assert driver.observe(target).disk_now == 4 * gib
    image = workspace.state / "images" / "debian-13-0"
    machine = workspace.state / "machines" / "web1"
    for folder in (image, machine):
        folder.mkdir(parents=True)
    (image / "disk.qcow2").write_text("")
    (machine / "root.qcow2").write_text("")
    assert driver.observe(target).disk_now == 0


def test_a_taken_port_names_who_holds_it(listener):
    (taken,) = ports.taken([Port(number=listener)], own=None)
    name = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert taken.holder == f"{name} (pid {os.getpid()})"


def test_a_port_on_another_address_is_free_and_on_every_address_is_not(listener):
    assert ports.taken([Port(number=listener, address="127.0.0.2")], own=None) == ()
    assert ports.taken([Port(number=listener, address="0.0.0.0")], own=None)
    assert ports.taken([Port(number=listener, protocol="udp")], own=None) == ()


def test_a_port_that_our_own_machine_holds_is_not_taken(listener):
    assert ports.taken([Port(number=listener)], own=os.getpid()) == ()


def test_udp_and_ipv6_listeners_are_seen():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        assert ports.taken([Port(number=udp.getsockname()[1], protocol="udp")], own=None)
    if socket.has_dualstack_ipv6():
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as both:
            assert ports.taken([Port(number=both.getsockname()[1])], own=None)


def test_only_a_running_qemu_with_our_mark_is_our_machine(tmp_path):
    (tmp_path / "qemu.pid").write_text(str(os.getpid()))
    (tmp_path / "machine.json").write_text("{}")
    assert driver_module._running(tmp_path) is None  # the pid is somebody else's by now
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    argv, real = ["qemu-system-x86_64"], shutil.which("cat")
    with subprocess.Popen(argv, executable=real, **pipes) as machine:
        machine.stdin.write(b"up\n")
        machine.stdin.flush()
        assert machine.stdout.readline() == b"up\n"  # by now /proc shows its own command line
        (tmp_path / "qemu.pid").write_text(str(machine.pid))
        assert driver_module._running(tmp_path) == machine.pid
        assert driver_module._resident(machine.pid) > 0
        (tmp_path / "machine.json").unlink()
        assert driver_module._running(tmp_path) is None


@pytest.fixture
def device(tmp_path, monkeypatch):
    path = tmp_path / "kvm"
    path.touch()
    monkeypatch.setattr(kvm, "_DEVICE", path)
    return path


def test_without_a_device_nothing_is_asked(device, tmp_path):
    device.unlink()
    assert kvm.observe(tmp_path / "cache") == Kvm(verdict="absent")
    assert not (tmp_path / "cache").exists()


def test_a_device_that_may_not_be_opened_is_told_apart(device, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != device)  # root may open it all
    assert kvm.observe(tmp_path / "cache").verdict == "denied"


@pytest.mark.parametrize(
    ("program", "verdict", "why"),
    [
        ("print('usable')", "usable", ""),
        ("print('hlt ends in shutdown')", "broken", "hlt ends in shutdown"),
        ("import os; os.abort()", "broken", "no answer"),
    ],
)
def test_the_verdict_of_the_probe_is_remembered(
    device, tmp_path, monkeypatch, program, verdict, why
):
    probe = tmp_path / "probe.py"
    probe.write_text(program)
    monkeypatch.setattr(kvm, "_PROBE", probe)
    found = kvm.observe(tmp_path / "cache")
    assert (found.verdict, found.why) == (verdict, why)
    probe.write_text("print('something else')")
    assert kvm.observe(tmp_path / "cache") == found


def test_the_memory_holds_for_one_machine_and_boot_only(device, tmp_path, monkeypatch):
    probe = tmp_path / "probe.py"
    probe.write_text("print('usable')")
    monkeypatch.setattr(kvm, "_PROBE", probe)
    cache = tmp_path / "cache"
    kvm.observe(cache)
    kept = json.loads((cache / "kvm.json").read_text())
    (cache / "kvm.json").write_text(json.dumps({**kept, "machine": "another"}))
    probe.write_text("print('no')")
    assert kvm.observe(cache) == Kvm(verdict="broken", why="no")


@pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="no /dev/kvm here")
def test_the_real_probe_agrees_with_itself_and_is_quick(tmp_path):
    done = subprocess.run(
        [sys.executable, "-I", kvm._PROBE], capture_output=True, text=True, check=True, timeout=8
    )
    verdict = kvm.observe(tmp_path / "cache")
    assert done.stdout.strip() == (verdict.why or "usable")
    assert done.stderr == ""
