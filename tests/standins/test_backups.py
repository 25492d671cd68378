"""Backups, and VMs restored from them: by the source of pve-manager and qemu-server."""

import pytest

from tests.standins.proxmox import GIB
from tests.standins.proxmox.resources.backup import KilledError
from tests.standins.proxmox.tasks import TaskError

from .conftest import Api

DUMP = "/nodes/pve1/vzdump"
LISTED = "/nodes/pve1/storage/local/content"


@pytest.fixture
def machine(standin, api):
    """One that runs, with a disk of its own and one that stays out of backups."""
    guest = standin.add_vm(101, "a", storage="local-lvm", onboot="1", tags="mine")
    standin.add_disk("local-lvm:vm-900-disk-0", owner=900, size=GIB)
    standin.edit(101, virtio1="local-lvm:vm-900-disk-0,serial=data,backup=0")
    assert api.done(api.post("/nodes/pve1/qemu/101/status/start")) == "OK"
    return guest


def dump(api, **words):
    return api.post(DUMP, vmid="101", storage="local", compress="zstd", **words)


def backup(api):
    (found,) = api.get(LISTED, content="backup").data
    return found


def log(api, upid):
    return [row["t"] for row in api.get(f"/nodes/pve1/tasks/{upid}/log", limit=0).data]


def test_a_machine_stands_still_for_it_and_runs_again(standin, api, machine):
    before = machine.pid
    said = dump(api, mode="stop", protected=1, **{"notes-template": "of {{guestname}}\\nmore"})
    assert api.done(said) == "OK"
    assert machine.running
    assert machine.pid != before
    assert "lock" not in machine.config
    found = backup(api)
    assert (found["notes"], found["protected"], found["vmid"]) == ("of a", 1, 101)
    lines = log(api, said.data)
    assert any("include disk 'scsi0'" in line for line in lines)
    assert any("exclude disk 'virtio1'" in line for line in lines)
    assert not any("include disk 'virtio1'" in line for line in lines)


def test_a_guest_that_does_not_listen_runs_on_and_the_job_says_so(standin, api, machine):
    machine.listens, standin.world.patience = False, 0.0
    said = dump(api, mode="stop", stopwait=1)
    assert api.done(said) == "job errors"
    assert machine.running
    assert any("failed - command 'qm shutdown 101" in line for line in log(api, said.data))
    assert api.get(LISTED, content="backup").data == []


def test_what_breaks_on_the_way_leaves_no_archive_and_a_running_machine(standin, api, machine):
    def full(_):
        raise TaskError("No space left on device")

    standin.world.in_backup = full
    assert api.done(dump(api, mode="stop")) == "job errors"
    assert machine.running
    assert api.get(LISTED, content="backup").data == []


def test_a_worker_that_dies_leaves_its_lock(standin, api, machine):
    def die(_):
        raise KilledError

    standin.world.in_backup = die
    api.done(dump(api))
    assert machine.config["lock"] == "backup"
    assert api.done(dump(api)) == "job errors"


def test_who_may_not_is_told_by_the_task_or_at_once(standin, api, machine):
    few = standin.add_token("few@pve", "x1", privileges="VM.Audit Datastore.AllocateSpace")
    other = Api(standin, few)
    assert other.done(dump(other)) == "Permission check failed (/vms/101, VM.Backup)"
    few = standin.add_token("fewer@pve", "x1", privileges="VM.Audit VM.Backup")
    assert dump(Api(standin, few)).status == 403
    said = api.post(DUMP, vmid="101", storage="local-lvm")
    assert "wrong content type" in api.done(said)
    assert api.post(DUMP, vmid="101", storage="local", **{"notes-template": "a\nb"}).status == 400


def test_a_machine_elsewhere_is_passed_over_in_silence(standin, api, machine):
    standin.add_node("pve2")
    assert api.post("/nodes/pve2/vzdump", vmid="101", storage="local").data == "OK"


def test_a_backup_server_lists_its_own_names(standin, api, machine):
    standin.add_storage("pbs", "pbs", content={"backup"})
    assert api.done(api.post(DUMP, vmid="101", storage="pbs")) == "OK"
    (found,) = api.get("/nodes/pve1/storage/pbs/content", content="backup").data
    assert found["volid"].startswith("pbs:backup/vm/101/")
    assert (found["format"], found["subtype"]) == ("pbs-vm", "qemu")


def test_a_restored_vm_has_its_own_disks_and_what_was_left_out_is_a_remark(standin, api, machine):
    api.done(dump(api))
    archive, before = backup(api)["volid"], api.config(101)
    words = {"archive": archive, "storage": "local", "unique": 1, "name": "b", "onboot": 0}
    assert api.done(api.post("/nodes/pve1/qemu", vmid=102, **words)) == "OK"
    made = api.config(102)
    assert made["scsi0"].startswith("local:102/vm-102-disk-0")
    assert "virtio1" not in made
    assert "#virtio1:" in made["description"]
    assert (made["name"], made["onboot"], made["tags"]) == ("b", 0, "mine")
    for key in ("net0", "smbios1", "vmgenid"):
        assert made[key] != before[key]
    said = api.post("/nodes/pve1/qemu", vmid=102, archive=archive)
    assert said.reason == "unable to restore VM 102 - VM 102 already exists on node 'pve1'"
    said = api.post("/nodes/pve1/qemu", vmid=103, archive=archive, scsi1="local:1")
    assert said.errors == {"scsi1": "option conflicts with option 'archive'"}


def test_a_restore_that_fails_leaves_the_vm_without_a_name(standin, api, machine):
    said = api.post("/nodes/pve1/qemu", vmid=102, archive="local:backup/vzdump-qemu-1-x.vma")
    assert "does not exist" in api.done(said)
    assert set(api.config(102)) == {"digest"}
    assert api.done(api.delete("/nodes/pve1/qemu/102")) == "OK"


def test_a_protected_one_is_removed_only_once_it_is_not(standin, api, machine):
    api.done(dump(api, protected=1))
    path = f"/nodes/pve1/storage/local/content/{backup(api)['volid']}"
    assert "volume is protected" in api.done(api.delete(path))
    api.put(path, protected=0)
    assert api.done(api.delete(path)) == "OK"
    assert api.get(LISTED, content="backup").data == []
