"""With `real_disks` every volume is an image that QEMU can open, and a start is handed to us."""

import json
import shutil
import subprocess
import time

import pytest

from tests.standins.proxmox import ProxmoxStandIn

from .conftest import Api

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not here")
MIB = 1 << 20


def qemu_img(*arguments):
    done = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, check=True)
    return done.stdout


def described(file):
    return json.loads(qemu_img("info", "--output=json", "-U", file))


def content(file, folder):
    raw = folder / "raw"
    qemu_img("convert", "-U", "-O", "raw", file, raw)
    return raw.read_bytes()


@pytest.fixture
def image(tmp_path):
    raw, made = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    raw.write_bytes(b"the template" + bytes(4 * MIB - 12))
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, made)
    return made


class Machines:
    """What a user of the stand-in starts and stops."""

    def __init__(self):
        self.running = {}

    def start(self, guest, config, files):
        self.running[guest.vmid] = (config, files)
        guest.addresses = ["192.0.2.77/24"]
        return f"machine {guest.vmid}"

    def stop(self, guest, token):
        assert token == f"machine {guest.vmid}"
        del self.running[guest.vmid]


def test_clones_are_overlays_or_copies_and_a_start_gets_their_files(tmp_path, image):
    machines = Machines()
    hooks = {"on_start": machines.start, "on_stop": machines.stop}
    with ProxmoxStandIn(real_disks=True, **hooks) as standin:
        api = Api(standin)
        standin.add_template(image=image)
        clone = "/nodes/pve1/qemu/9000/clone"
        assert api.done(api.post(clone, newid=101)) == "OK"
        assert api.done(api.post(clone, newid=102, full=1, storage="local-lvm")) == "OK"
        resized = api.put("/nodes/pve1/qemu/101/resize", disk="scsi0", size="+4M")
        assert api.done(resized) == "OK"
        assert api.put("/nodes/pve1/qemu/102/config", scsi1="local-lvm:1").status == 200
        for vmid in (101, 102):
            assert api.done(api.post(f"/nodes/pve1/qemu/{vmid}/status/start")) == "OK"
        linked, whole = machines.running[101][1], machines.running[102][1]
        base = standin.world.volumes.find("local:9000/base-9000-disk-0.qcow2", "pve1").file
        assert described(linked["scsi0"])["backing-filename"] == str(base)
        assert described(linked["scsi0"])["virtual-size"] == 8 * MIB
        assert "backing-filename" not in described(whole["scsi0"])
        assert described(whole["scsi1"])["virtual-size"] == 1 << 30
        for files in (linked, whole):
            assert content(files["scsi0"], tmp_path).startswith(b"the template")
        path = "/nodes/pve1/qemu/101/agent/network-get-interfaces"
        assert api.get(path).data["result"][1]["ip-addresses"][0]["ip-address"] == "192.0.2.77"
        assert api.done(api.post("/nodes/pve1/qemu/101/status/stop")) == "OK"
        assert set(machines.running) == {102}
        assert api.done(api.delete("/nodes/pve1/qemu/101")) == "OK"
        assert not linked["scsi0"].exists()
    assert not machines.running, "what still runs is stopped at the end"


def test_an_uploaded_image_becomes_a_disk(tmp_path, image):
    with ProxmoxStandIn(real_disks=True) as standin:
        api = Api(standin)
        standin.add_file("local:import/x.qcow2", image)
        said = api.post(
            "/nodes/pve1/qemu", vmid=101, scsi0="local:0,import-from=local:import/x.qcow2"
        )
        assert api.done(said) == "OK"
        assert api.config(101)["scsi0"] == "local:101/vm-101-disk-0.qcow2,size=4M"
        disk = standin.world.volumes.find("local:101/vm-101-disk-0.qcow2", "pve1").file
        assert content(disk, tmp_path).startswith(b"the template")
        moved = api.post("/nodes/pve1/qemu/101/move_disk", disk="scsi0", storage="local-lvm")
        assert api.done(moved) == "OK"
        disk = standin.world.volumes.find("local-lvm:vm-101-disk-0", "pve1").file
        assert described(disk)["format"] == "raw"
        assert content(disk, tmp_path).startswith(b"the template")


def test_a_start_that_fails_is_the_tasks_error():
    def refuse(guest, config, files):
        raise RuntimeError("no memory left")

    with ProxmoxStandIn(on_start=refuse) as standin:
        api = Api(standin)
        standin.add_vm(101, "a")
        begun = time.monotonic()
        exit_status = api.done(api.post("/nodes/pve1/qemu/101/status/start"))
        assert "no memory left" in exit_status
        assert api.get("/nodes/pve1/qemu/101/status/current").data["status"] == "stopped"
        assert time.monotonic() - begun < 10
