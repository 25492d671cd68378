"""A machine of Proxmox VE becomes a template: captured, restored, cleaned by a real boot, used.

The node is the stand-in's; the machines are real, in QEMU, with the very CD that the node is given.
"""

import shutil
import subprocess

import pytest

from lab.layer import Target, Workspace, silent
from lab.model.host import Host
from lab.model.secret import NoSecrets, Secret
from lab.model.template import ArchivedCandidate
from layers.l1_image import planner as images
from layers.l1_image.drivers.debian.ext4 import root_of
from layers.l1_image.drivers.proxmox_template.driver import ProxmoxTemplateDriver
from layers.l1_image.identity import IDENTITY
from layers.l1_image.spec import Document as ImageDocument
from layers.l1_image.spec import Inputs as ImageInputs
from layers.l2_instantiate import planner as machines
from layers.l2_instantiate.drivers.terraform import TerraformDriver
from layers.l2_instantiate.drivers.terraform.place import MACHINE, Place
from layers.l2_instantiate.settings import marks
from layers.l2_instantiate.spec import Document, Inputs
from tests.e2e.boxes import Box, Person
from tests.standins.proxmox import GIB, ProxmoxStandIn

pytestmark = [
    pytest.mark.vm,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not here"),
]
HOST = Host(name="web1", persona="web", provider="pve")
CANARY = "canary-4f1d7c"
LIVED = f"""
set -e
umask 022
say() {{ mkdir -p "${{1%/*}}/"; echo {CANARY} >>"$1"; }}
say /srv/notes/n
say /var/lib/strata/owned
say /root/.bash_history
say /home/ops/.ssh/id_rsa
say /var/tmp/.hidden
say /var/log/app.log
say /etc/systemd/network/10-cloud-init-eth9.network
mkdir -p /mnt/bare; mount --bind / /mnt/bare; say /mnt/bare/tmp/below; umount /mnt/bare
logger -t app {CANARY}; journalctl --flush --sync
dd if=/dev/zero of=/swapfile bs=1M count=8 status=none; chmod 600 /swapfile; mkswap -q /swapfile
echo {CANARY} | dd of=/swapfile bs=1 seek=4194304 conv=notrunc status=none
echo '/swapfile none swap sw,nofail 0 0' >>/etc/fstab
for n in $(seq 200); do say /deleted; done; sync; rm /deleted
mkdir /opt/app; echo stays >/opt/app/config
sync
"""


class Known(NoSecrets):
    def __init__(self, value):
        self.value = value

    def reveal(self, name):
        return self.value


@pytest.fixture
def workspace(tmp_path):
    folders = {name: tmp_path / name for name in ("root", "state", "cache", "runtime")}
    for folder in folders.values():
        folder.mkdir()
    made = Workspace(lab="t", **folders)
    yield made
    made.close()


@pytest.fixture
def lived(template, tmp_path):
    """The disk of a machine that was somebody; and who it was."""
    disk, person = tmp_path / "lived.qcow2", Person(tmp_path / "web1", "web1")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", template, disk], check=True)
    subprocess.run(["qemu-img", "resize", "-q", disk, "4G"], check=True)
    box = Box(tmp_path / "web1", disk, person.cd, port=person.port)
    try:
        person.await_login()
        person.run(LIVED)
        who = person.run("cat /etc/machine-id").strip()
        person.run("systemctl poweroff", check=False)
        box.await_end(180)
    finally:
        box.kill()
    return disk, who


class Node:
    """A stand-in whose machines are real, and end by themselves."""

    def __init__(self, folder):
        self.folder, self.boxes = folder, []
        self.pve = ProxmoxStandIn(
            real_disks=True, on_start=self.start, on_stop=self.stop, folder=folder / "node"
        )

    def start(self, guest, config, files):
        assert not [key for key in config if key.startswith("net")], "it has a network"
        assert set(files) == {"scsi0", config_cd(config)}
        box = Box(
            self.folder / str(guest.vmid),
            files["scsi0"],
            files[config_cd(config)],
            then=lambda: self.pve.power_off(guest.vmid),
        )
        self.boxes.append(box)
        return box

    def stop(self, _, box):
        box.kill()


def config_cd(config):
    (key,) = [k for k, v in config.items() if "media=cdrom" in v]
    return key


def targets(pve):
    section = {
        "kind": "proxmox",
        "url": pve.url,
        "fingerprint": pve.fingerprint,
        "token": Secret("pve", Known(pve.token)),
        "node": "pve1",
        "storage": "local",
        "backup_storage": "local",
    }
    (part,) = machines.parts(
        Document.model_validate(
            {
                "provider": section,
                "machine": {"memory": "1GiB", "disks": {"root": {"size": "4GiB"}}},
            }
        )
    )
    machine = Target(HOST, part.spec, Inputs(), report=silent)
    (part,) = images.parts(
        ImageDocument.model_validate({"provider": section, "image": {"base": "debian-13"}})
    )
    return machine, Target(HOST, part.spec, ImageInputs(), report=silent)


def test_a_machine_that_lived_becomes_a_template_that_tells_nothing(lived, workspace, tmp_path):
    disk, who = lived
    assert on_disk(disk, CANARY), "there is nothing to find"
    node = Node(tmp_path)
    with node.pve as pve:
        mark = Place(workspace, "web1").mark(MACHINE)
        tags = ";".join(marks("web1"))
        pve.add_vm(5001, "web1", image=disk, description=mark.text, tags=tags)
        pve.add_disk("local:900/vm-900-disk-0.raw", owner=900, size=GIB)
        pve.edit(5001, virtio1="local:900/vm-900-disk-0.raw,serial=data,size=1G")
        machine, image = targets(pve)
        driver = TerraformDriver(workspace)
        with driver.archive(machine, "id1", frozenset(), live=False) as archived:
            assert archived.how == "off, as it was left"
        candidate = ArchivedCandidate(
            name="web-0123456789ab",
            captured="web1@1a2b3c4d",
            checksum=f"sha256:{archived.archive.digest}",
            remove=("/var/lib/strata/*", "/srv/notes"),
            archive=archived.archive,
        )
        try:
            ProxmoxTemplateDriver(workspace).admit_archive(image, candidate, silent)
        finally:
            said = "".join(box.said() for box in node.boxes)
        assert "strata: cleaned" in said, said[-6000:]
        (vmid,) = [v for v, g in pve.world.guests.items() if g.config.get("template") == "1"]
        config = pve.guest(vmid).config
        assert not {"ide0", "ide2", "net0", "virtio1"} & set(config)
        volume = pve.world.volumes.need(config["scsi0"].split(",")[0], "pve1")
        cleaned = tmp_path / "cleaned.qcow2"
        shutil.copyfile(volume.file, cleaned)

    raw = tmp_path / "cleaned.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", cleaned, raw], check=True)
    assert not on_disk(raw, CANARY), "what was removed can still be read"
    root = root_of(raw, "the template", workspace)
    assert [e.path for e in root.matching([*IDENTITY, "/swapfile", "/srv/notes"])] == []
    assert [e.path for e in root.below(root.matching(["/var/log"])) if not e.is_directory] == []
    there = tmp_path / "machine-id"
    root.dump({"/etc/machine-id": there, "/opt/app/config": tmp_path / "config"})
    assert (there.read_bytes(), (tmp_path / "config").read_text()) == (b"", "stays\n")
    assert not root.matching(["/etc/systemd/system/default.target*", "/.strata-fill"])

    other = Person(tmp_path / "web2", "web2")
    box = Box(tmp_path / "web2", cleaned, other.cd, port=other.port)
    try:
        other.await_login()
        now = other.run("cat /etc/machine-id; hostname; systemctl is-system-running --wait").split()
    finally:
        box.kill()
    assert now[0] != who
    assert now[1:] == ["web2", "running"]


def on_disk(disk, text):
    """Whether a disk holds these bytes anywhere."""
    return subprocess.run(["grep", "-c", "-a", text, disk], check=False).returncode == 0
