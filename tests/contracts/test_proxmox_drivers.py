"""The contract for the drivers of Proxmox VE, on the stand-in, with what docs/proxmox.md gives."""

import re
import shutil
import subprocess
from pathlib import Path
from threading import Event

import pytest

from lab.clients.proxmox import Access, Api
from lab.errors import LabError
from lab.layer import Target, Workspace
from lab.model.baseline import Baseline
from lab.model.host import Host
from lab.model.secret import Secret, SecretName
from layers import l0_runway, l1_image
from layers.l1_image.drivers.proxmox_template import making
from tests.standins.proxmox import ProxmoxStandIn

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not there")
HOST = Host(name="web1", persona="web", provider="pve")
GUIDE = Path(__file__).resolve().parents[2] / "docs/proxmox.md"
TEMPLATES = {  # what a template alone takes of the guide's roles; the rest is for machines
    "StrataMachines": {
        "VM.Allocate",
        "VM.Audit",
        "VM.Config.CPU",
        "VM.Config.Disk",
        "VM.Config.HWType",
        "VM.Config.Memory",
        "VM.Config.Options",
    },
    "StrataDisks": {"Datastore.AllocateSpace"},
    "StrataFiles": {"Datastore.Allocate", "Datastore.AllocateTemplate", "Datastore.Audit"},
    "StrataNode": set(),
    "StrataNetwork": set(),
}


class Vault:
    def __init__(self, token):
        self.token = token

    def reveal(self, name):
        return self.token


@pytest.fixture
def pve():
    with ProxmoxStandIn(task_seconds=0.001) as standin:
        standin.add_storage("local-zfs", "zfspool", content={"images", "rootdir"})
        access = standin.world.access
        for line in GUIDE.read_text().splitlines():
            if found := re.match(r'pveum role add (\S+) --privs "(.*)"', line):
                access.roles[found[1]] = frozenset(found[2].split())
            elif found := re.match(r"pveum acl modify (\S+) --users (\S+) --roles (\S+)", line):
                access.grant(found[1], found[2], found[3])
        standin.token = access.add_token("strata@pve", "lab", separated=False)
        yield standin


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    folders = {name: tmp_path / name for name in ("root", "state", "cache", "runtime")}
    for folder in folders.values():
        folder.mkdir()
    disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)

    def build(self):
        shutil.copyfile(disk, self.folder / "disk.qcow2")
        return Baseline(complete=True)

    monkeypatch.setattr(making.Making, "_build", build)
    monkeypatch.setattr("lab.clients.proxmox.tasks._QUICK", 0.002)
    made = Workspace(lab="t", **folders)
    yield made
    made.close()


def subjects(pve, workspace, make_subject, **provider):
    document = {
        "provider": {
            "kind": "proxmox",
            "url": pve.url,
            "fingerprint": pve.fingerprint,
            "token": SecretName("pve"),
            "node": "pve1",
            "storage": "local-zfs",
            **provider,
        },
        "image": {"base": "debian-13"},
        "machine": {"memory": "1GiB", "disks": {"root": {"size": "8GiB"}}},
    }
    context = {"reader": None, "secrets": Vault(pve.token)}
    for layer in (l0_runway.LAYER, l1_image.LAYER):
        for part in layer.parts(layer.document.model_validate(document, context=context)):
            if part.driver.startswith("proxmox"):
                target = Target(HOST, part.spec, layer.inputs(), part.name)
                driver = layer.drivers[part.driver](workspace)
                yield make_subject(layer, driver, target, workspace.state)


def left(pve):
    return [volume for volume in pve.world.volumes if volume.content == "import"]


def test_the_contract_holds_with_the_guides_privileges(pve, workspace, hold, make_subject):
    outputs = [hold(subject) for subject in subjects(pve, workspace, make_subject)]
    assert outputs[-1].template == "9000"
    assert {c.status for c in pve.faults.calls} == {200}


def test_a_pool_of_its_own_is_enough(pve, workspace, hold, make_subject):
    access = pve.world.access
    root = access.add_token("root@pam", "lab", separated=False)
    with_root = Api(Access(pve.url, pve.fingerprint, "", Secret("x", Vault(root))), Event())
    with_root.post("pools", doing="make a pool", poolid="lab")
    pve.add_vm(9000, "theirs")
    access.revoke("/vms", "user", "strata@pve", "StrataMachines")
    access.roles["StrataMachines"] |= {"Pool.Audit"}
    access.grant("/pool/lab", "strata@pve", "StrataMachines")
    machines = subjects(pve, workspace, make_subject, pool="lab")
    outputs = [hold(subject) for subject in machines]
    assert outputs[-1].template == "9001", "9000 is taken by one that it may not see"
    (ours,) = [vm for vm in with_root.vms() if vm.is_template]
    assert ours.pool == "lab"
    with_root.close()


def test_a_template_takes_each_of_its_privileges_and_no_other(pve, workspace, hold, make_subject):
    """Without any of them something is refused or cannot be seen; with them alone it is made."""
    roles = pve.world.access.roles
    roles |= {name: frozenset(held) for name, held in TEMPLATES.items()}
    unneeded = []
    for role, held in TEMPLATES.items():
        for privilege in sorted(held):
            roles[role] = frozenset(held - {privilege})
            workspace.close()
            _, subject = subjects(pve, workspace, make_subject)
            try:
                subject.apply(subject.plan())
                whole = not subject.plan() and not left(pve)
            except LabError:
                whole = False
            if whole:
                unneeded.append((role, privilege))
            pve.settle()
            pve.world.guests.clear()
            for volume in list(pve.world.volumes):
                pve.world.volumes.drop(volume)
            shutil.rmtree(workspace.state / "templates", ignore_errors=True)
        roles[role] = frozenset(held)
    assert unneeded == [], str(unneeded)
    workspace.close()
    for subject in subjects(pve, workspace, make_subject):
        if subject.layer is l1_image.LAYER:
            hold(subject)
