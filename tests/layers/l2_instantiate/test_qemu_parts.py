"""The pieces of the QEMU driver that need no running QEMU."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from lab.errors import DriverError, NotOwned
from lab.layer import Workspace
from layers.l2_instantiate import keys, login, network
from layers.l2_instantiate.drivers.qemu import QemuDriver, building, images, process, seed
from layers.l2_instantiate.drivers.qemu.command import Firmware, arguments
from layers.l2_instantiate.drivers.qemu.console import Console, last_lines, readable
from layers.l2_instantiate.drivers.qemu.firmware import find_firmware
from layers.l2_instantiate.drivers.qemu.folder import Folder, Record, Settings
from layers.l2_instantiate.ports import parse_forward

needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img")
needs_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
MIB = 1024**2


@pytest.fixture
def folder(workspace: Workspace) -> Folder:
    return Folder(workspace, "web1")


@pytest.fixture
def record() -> Record:
    settings = Settings(
        cpu=2,
        memory=1024 * MIB,
        disks=("data",),
        ports=("127.0.0.1:18080:8080/tcp", "127.0.0.1:53:53/udp"),
        user="strata",
        authorized_keys=("ssh-ed25519 AAAA me",),
    )
    return Record(
        lab="demo",
        host="web1",
        uuid="12345678-9abc-4def-8123-456789abcdef",
        port=2201,
        settings=settings,
        user="strata",
        authorized_keys=("ssh-ed25519 AAAA me",),
        host_key="ssh-ed25519 HOST",
        identity="ssh-ed25519 LAB",
    )


@pytest.fixture
def host(workspace: Workspace, make_host: Any, tmp_path: Path) -> Any:
    made = make_host(workspace, QemuDriver(workspace))
    template = tmp_path / "images" / "debian-13-aaaa" / "disk.qcow2"
    template.parent.mkdir(parents=True)
    if shutil.which("qemu-img"):
        images.make_blank(template, 2 * 1024 * MIB, "template")
    made.inputs = made.inputs.model_copy(update={"template": str(template)})
    return made


def following(words: list[str], option: str) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words) if word == option]


def test_the_command_line(folder: Folder, record: Record) -> None:
    words = arguments(folder, record, "tcg", Firmware("/code.fd", "/vars.fd"))
    assert following(words, "-accel") == ["tcg,thread=multi"]
    assert following(words, "-cpu") == ["max"]
    assert following(words, "-m") == ["1024M"]
    (network_words,) = following(words, "-netdev")
    assert network_words == (
        "user,id=net0,hostfwd=tcp:127.0.0.1:2201-:22,"
        "hostfwd=tcp:127.0.0.1:18080-:8080,hostfwd=udp:127.0.0.1:53-:53"
    )
    assert [d for d in following(words, "-device") if "virtio-blk" in d] == [
        "virtio-blk-pci,drive=root,serial=root,bootindex=0",
        "virtio-blk-pci,drive=seed,serial=seed",
        "virtio-blk-pci,drive=data,serial=data",
    ]
    kvm = arguments(folder, record, "kvm", Firmware("/code.fd", "/vars.fd"))
    assert (following(kvm, "-accel"), following(kvm, "-cpu")) == (["kvm"], ["host"])


def test_an_isolated_machine_reaches_nothing_and_is_reached(folder: Folder, record: Record) -> None:
    alone = record.model_copy(
        update={"settings": record.settings.model_copy(update={"isolated": True})}
    )
    words = arguments(folder, alone, "tcg", Firmware("/code.fd", "/vars.fd"))
    (network_words,) = following(words, "-netdev")
    assert network_words.startswith("user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:2201-:22,")
    assert process.Process(1, tuple(words)).isolated
    usual = arguments(folder, record, "tcg", Firmware("/code.fd", "/vars.fd"))
    assert not process.Process(1, tuple(usual)).isolated


def test_a_comma_in_a_path_does_not_end_the_value(workspace: Workspace, record: Record) -> None:
    odd = Workspace("demo", workspace.root, Path("/a,b"), workspace.cache, Path("/r,s"))
    folder = Folder(odd, "web1")
    words = arguments(folder, record, "tcg", Firmware("/code.fd", "/vars.fd"))
    assert any("file=/a,,b/machines/web1/root.qcow2," in w for w in words)
    assert process.Process(1, tuple(words)).socket == folder.socket


def test_a_process_tells_what_it_was_started_with(folder: Folder, record: Record) -> None:
    words = arguments(folder, record, "tcg", Firmware("/code.fd", "/vars.fd"))
    found = process.Process(1, tuple(words))
    assert (found.cpu, found.memory, found.accelerator) == (2, 1024 * MIB, "tcg")
    assert found.socket == folder.socket


def test_a_socket_path_is_short_however_long_the_name(workspace: Workspace) -> None:
    assert len(Folder(workspace, "h" * 63).socket.name) < 20


def test_another_process_with_the_recorded_pid_is_not_ours(folder: Folder, record: Record) -> None:
    folder.write(record)
    folder.pidfile.write_text(str(os.getpid()))
    assert process.find(folder, record) is None
    folder.pidfile.write_text("not a number")
    assert process.find(folder, record) is None
    folder.pidfile.unlink()
    assert process.find(folder, record) is None


class Monitor:
    def monitor(self, line: str) -> str:
        assert line == "info usernet"
        return (
            "Hub -1 (net0):\r\n"
            "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
            "  TCP[ESTABLISHED]   11       127.0.0.1 33183       10.0.2.15    22     0     0\r\n"
            "  TCP[HOST_FORWARD]  15       127.0.0.1 18481       10.0.2.15  8080     0     0\r\n"
            "  UDP[6 sec]         80       10.0.2.15 53222        10.0.2.3    53     0     0\r\n"
            "  UDP[HOST_FORWARD]  22               *    53       10.0.2.15    53     0     0\r\n"
        )


def test_forwards_as_qemu_tells_them() -> None:
    found = process.forwards(Monitor())  # type: ignore[arg-type]
    assert [str(f) for f in found] == ["127.0.0.1:18481:8080/tcp", "0.0.0.0:53:53/udp"]


def test_the_seed_is_data_and_names_another_instance_when_the_login_changes(
    record: Record,
) -> None:
    text = seed.user_data(record, "-----BEGIN\nkey\n")
    assert text.startswith("#cloud-config\n")
    config = json.loads(text.split("\n", 1)[1])
    assert config["users"][0]["ssh_authorized_keys"] == [
        "ssh-ed25519 LAB strata",
        "ssh-ed25519 AAAA me",
    ]
    assert config["ssh_keys"]["ed25519_public"] == "ssh-ed25519 HOST"
    assert config["ssh_deletekeys"] is False

    again = record.model_copy(update={"port": 1, "answered": True})
    assert seed.meta_data(again) == seed.meta_data(record)
    for change in ({"host_key": "x"}, {"identity": "x"}, {"generation": 9}):
        assert seed.meta_data(record.model_copy(update=change)) != seed.meta_data(record)


@pytest.mark.skipif(shutil.which("mcopy") is None, reason="needs mtools")
@needs_keygen
def test_a_seed_is_made_for_this_user_alone(folder: Folder, record: Record) -> None:
    folder.write(record)
    keys.make_host_key(folder)
    seed.write_seed(folder, record)
    seed.write_seed(folder, record)
    assert folder.seed.stat().st_mode & 0o777 == 0o600
    assert b"CIDATA" in folder.seed.read_bytes()
    assert sorted(p.name for p in folder.home.iterdir()) == ["machine.json", "seed.img"]


@needs_keygen
def test_keys_are_made_once_and_for_this_user_alone(folder: Folder) -> None:
    assert keys.read_host_key(folder) is None
    assert keys.read_login_key(folder) is None
    host, login = keys.make_host_key(folder), keys.make_login_key(folder)
    assert host.startswith("ssh-ed25519 ")
    assert (keys.make_host_key(folder), keys.make_login_key(folder)) == (host, login)
    private, _ = keys.host_key_files(folder)
    for path in (private, folder.login_key):
        assert path.stat().st_mode & 0o077 == 0
    folder.login_key.with_suffix(".pub").unlink()
    assert keys.make_login_key(folder) == login
    private.unlink()
    assert keys.read_host_key(folder) is None
    assert keys.make_host_key(folder) != host
    assert not list(folder.login_key.parent.glob(".new-*"))
    assert folder.login_key.parent.stat().st_mode & 0o777 == 0o700


@needs_qemu
def test_images_are_read_without_a_program(tmp_path: Path) -> None:
    below, above = tmp_path / "t.qcow2", tmp_path / "o.qcow2"
    images.make_blank(below, 4 * MIB, "web1")
    images.make_overlay(above, below, 8 * MIB, "web1")
    assert images.read_header(below) == images.Header(4 * MIB, None)
    assert images.read_header(above) == images.Header(8 * MIB, str(below))
    images.grow(above, 16 * MIB, "web1")
    assert images.read_header(above) == images.Header(16 * MIB, str(below))
    with pytest.raises(DriverError, match="its template needs 4MiB, and 2MiB is declared"):
        images.make_overlay(above, below, 2 * MIB, "web1")
    below.write_bytes(b"short")
    assert images.read_header(below) is None
    with pytest.raises(DriverError, match="is no qcow2 image"):
        images.make_overlay(above, below, 8 * MIB, "web1")
    assert images.read_header(tmp_path / "none") is None


def test_ports_in_use_are_told_with_the_way_to_find_who() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        forward = parse_forward(f"{port}:80")
        assert not network.is_free(forward)
        error = network.taken(forward, "web1")
    assert f"tcp 127.0.0.1:{port}" in error.message
    assert "ss -ltnp" in error.hint
    assert network.is_free(forward)


@pytest.mark.parametrize(("banner", "speaks"), [(b"SSH-2.0-x\r\n", True), (b"HTTP", False)])
def test_only_a_banner_proves_that_ssh_is_up(banner: bytes, speaks: bool) -> None:  # noqa: FBT001
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not network.speaks_ssh(port, 0.05)  # taken by the kernel, and nobody speaks
        server.accept()[0].close()
        with socket.create_connection(("127.0.0.1", port)):
            pass
        server.accept()[0].close()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(banner)

        thread = threading.Thread(target=serve)
        thread.start()
        assert network.speaks_ssh(port) is speaks
        thread.join()
    assert not network.speaks_ssh(port)


def test_the_console_is_read_on_and_a_panic_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "serial.log"
    console = Console(path)
    console.look()
    assert console.line == ""
    path.write_bytes(b"\x1b[2J\x1b[!pBdsDxe: starting\r\n")
    console.look()
    assert console.line == "BdsDxe: starting"
    with path.open("ab") as file:
        file.write(b"[    1.9] Kernel pa")
        file.flush()
        console.look()
        assert not console.panicked
        file.write(b"nic - not syncing\n")
    console.look()
    assert console.panicked
    assert last_lines(path, 1) == ["Kernel panic - not syncing"]
    assert last_lines(tmp_path / "none") == []


def test_terminal_codes_are_taken_out() -> None:
    assert readable(b"\x1b[0;32m  OK  \x1b[0m Started \x1b]0;x\x07ssh\r\n\r\n") == [
        "OK   Started ssh"
    ]


def test_declared_firmware_must_be_there(tmp_path: Path) -> None:
    code = tmp_path / "MY_CODE.fd"
    with pytest.raises(DriverError, match="are not both there"):
        find_firmware(str(code), "web1")
    code.touch()
    (tmp_path / "MY_VARS.fd").touch()
    found = find_firmware(str(code), "web1")
    assert found == Firmware(str(code), str(tmp_path / "MY_VARS.fd"))


@needs_qemu
@needs_keygen
def test_a_machine_that_was_made_and_never_started_is_off(host: Any, folder: Folder) -> None:
    target = host.target()
    building.make_disk(target, folder, "data")
    building.make_machine(target, folder)
    assert [c.what for c in host.plan().changes] == ["power"]
    observed = host.driver.observe(target)
    assert observed.template_name == "debian-13-aaaa"
    assert (Path(host.inputs.template).parent / "users" / "web1").exists()
    for private in (folder.workspace.state, folder.home, folder.disks):
        assert private.stat().st_mode & 0o777 == 0o700

    host.declare(memory="2GiB", disks={"root": {"size": "8GiB"}, "data": {"size": "2GiB"}})
    plan = host.plan()
    names = ["disk data", "disk root", "machine", "power"]
    assert [c.what for c in plan.changes] == names
    for change in plan.changes[:-1]:
        host.driver.apply(host.target(), change)
        host.driver.apply(host.target(), change)  # as after a crash right behind it
    assert [c.what for c in host.plan().changes] == ["power"]

    assert host.converge(absent=True) == ["delete machine"]
    assert [c.what for c in host.plan().changes] == ["machine"]
    assert host.converge(absent=True, with_data=True) == ["delete disk data"]
    assert host.driver.observe(target) is None
    assert not (Path(host.inputs.template).parent / "users").exists()


@needs_qemu
@needs_keygen
def test_a_template_that_was_rebuilt_in_place_needs_a_new_root_disk(
    host: Any, folder: Folder
) -> None:
    building.make_disk(host.target(), folder, "data")
    building.make_machine(host.target(), folder)
    os.utime(host.inputs.template, ns=(1, 1))
    (change,) = host.plan().changes
    assert (change.action, change.what) == ("replace", "machine")
    Path(host.inputs.template).unlink()
    assert host.driver.observe(host.target()).template_name == ""


@needs_qemu
@needs_keygen
def test_what_is_not_ours_is_left_alone(host: Any, folder: Folder) -> None:
    folder.home.mkdir(parents=True)
    assert host.driver.observe(host.target()) is None, "an empty folder is nothing"
    (folder.home / "thesis.txt").write_text("dear")
    plan = host.plan()
    assert not plan.changes
    assert str(folder.home) in plan.blockers[0].why
    with pytest.raises(NotOwned):
        building.make_machine(host.target(), folder)
    with pytest.raises(NotOwned):
        building.remove_machine(host.target(absent=True), folder)
    assert (folder.home / "thesis.txt").exists()
    building.make_machine(host.target(adopt=True), folder)
    assert not (folder.home / "thesis.txt").exists()


@needs_qemu
@needs_keygen
def test_another_labs_machine_is_adopted_by_its_mark(host: Any, folder: Folder) -> None:
    building.make_disk(host.target(), folder, "data")
    building.make_machine(host.target(), folder)
    record = folder.require()
    folder.write(record.model_copy(update={"lab": "other"}))
    assert "lab other" in host.plan().blockers[0].why
    plan = host.plan(adopt=True)
    assert [c.what for c in plan.changes] == ["mark", "power"]
    host.driver.apply(host.target(adopt=True), plan.changes[0])
    assert folder.require() == record


@needs_qemu
@needs_keygen
def test_a_record_that_was_edited_is_named(host: Any, folder: Folder) -> None:
    building.make_disk(host.target(), folder, "data")
    building.make_machine(host.target(), folder)
    record = folder.require()
    settings = record.settings.model_copy(update={"memory": 512 * MIB})
    folder.write(record.model_copy(update={"settings": settings}))
    assert [c.what for c in host.plan().changes] == ["machine", "power"]
    folder.record.write_text("{")
    assert [b.what for b in host.plan().blockers] == ["machine"]


def test_what_the_file_system_refuses_is_a_lab_error(host: Any, folder: Folder) -> None:
    folder.workspace.state.mkdir()
    folder.home.parent.write_text("a file where a folder belongs")
    with pytest.raises(DriverError, match=r"Unable to look at web1: Not a directory"):
        host.plan()


def test_the_first_login_accepts_no_other_key(folder: Folder, record: Record) -> None:
    words = login.command(folder, record.door)
    assert following(words, "-i") == [str(folder.login_key)]
    assert "StrictHostKeyChecking=yes" in words
    assert words[-2] == "strata@127.0.0.1"


@needs_qemu
def test_no_port_no_start(host: Any, folder: Folder) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        host.declare(ports={other.getsockname()[1]: 8080})
        building.make_disk(host.target(), folder, "data")
        building.make_machine(host.target(), folder)
        with pytest.raises(DriverError, match="another program listens at tcp"):
            host.driver.apply(host.target(), host.plan().changes[0])
    assert [c.what for c in host.plan().changes] == ["power"]
