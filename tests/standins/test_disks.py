"""Disks: whose they are, where they go, and when they are destroyed."""

import pytest


def volumes(api, storage="local-lvm"):
    return {one["volid"]: one for one in api.get(f"/nodes/pve1/storage/{storage}/content").data}


@pytest.fixture
def two(standin):
    standin.add_vm(101, "a", storage="local-lvm")
    standin.add_vm(102, "b", storage="local-lvm")


def test_a_deleted_disk_stays_as_unused_until_that_is_deleted(api, two):
    path = "/nodes/pve1/qemu/101/config"
    api.put(path, scsi1="local-lvm:4")
    assert api.config(101)["scsi1"] == "local-lvm:vm-101-disk-1,size=4G"
    api.put(path, delete="scsi1")
    assert api.config(101)["unused0"] == "local-lvm:vm-101-disk-1"
    api.put(path, scsi3="local-lvm:vm-101-disk-1")
    assert "unused0" not in api.config(101)
    assert api.config(101)["scsi3"] == "local-lvm:vm-101-disk-1,size=4G"
    api.put(path, delete="scsi3")
    api.put(path, delete="unused0")
    assert "local-lvm:vm-101-disk-1" not in volumes(api)


def test_a_foreign_disk_is_attached_and_outlives_whoever_borrowed_it(standin, api, two):
    standin.add_disk("local-lvm:vm-900-disk-0", owner=900, size=4 << 30)
    said = api.put("/nodes/pve1/qemu/101/config", scsi1="local-lvm:vm-900-disk-0,serial=data")
    assert said.status == 200
    assert api.config(101)["scsi1"] == "local-lvm:vm-900-disk-0,serial=data,size=4G"
    gone = api.delete("/nodes/pve1/qemu/101", purge=1, destroy_unreferenced_disks=1)
    assert api.done(gone) == "OK"
    assert set(volumes(api)) & {"local-lvm:vm-900-disk-0"}
    assert not [one for one in volumes(api) if "vm-101-" in one]


def test_taking_a_foreign_disk_away_leaves_no_unused_entry(standin, api, two):
    standin.add_disk("local-lvm:vm-900-disk-0", owner=900)
    api.put("/nodes/pve1/qemu/101/config", scsi1="local-lvm:vm-900-disk-0")
    api.put("/nodes/pve1/qemu/101/config", delete="scsi1")
    assert not [key for key in api.config(101) if key.startswith("unused")]
    assert "local-lvm:vm-900-disk-0" in volumes(api)


def test_a_disk_given_to_another_vm_takes_its_name(api, two):
    api.put("/nodes/pve1/qemu/101/config", scsi1="local-lvm:4")
    path = "/nodes/pve1/qemu/101/move_disk"
    said = api.post(path, disk="scsi1", target_vmid=102, target_disk="scsi1")
    assert api.done(said) == "OK"
    assert "scsi1" not in api.config(101)
    assert api.config(102)["scsi1"] == "local-lvm:vm-102-disk-1,size=4G"
    assert volumes(api)["local-lvm:vm-102-disk-1"]["vmid"] == 102
    said = api.post(path, disk="scsi0", target_vmid=102, target_disk="scsi0")
    assert said.reason == "Target disk key 'scsi0' is already in use for VM '102'"
    api.done(api.post("/nodes/pve1/qemu/101/status/start"))
    said = api.post(path, disk="scsi0", target_vmid=102, target_disk="scsi2")
    assert "while the source VM is running - detach first" in said.reason


def test_a_disk_moved_to_another_storage_leaves_itself_behind_unless_told(api, two):
    path = "/nodes/pve1/qemu/101/move_disk"
    assert api.done(api.post(path, disk="scsi0", storage="local", format="qcow2")) == "OK"
    config = api.config(101)
    assert config["scsi0"] == "local:101/vm-101-disk-0.qcow2,size=2G"
    assert config["unused0"] == "local-lvm:vm-101-disk-0"
    assert api.done(api.post(path, disk="scsi0", storage="local-lvm", delete=1)) == "OK"
    assert not [one for one in volumes(api, "local") if "vm-101" in one]


def test_disks_grow_and_never_shrink(api, two):
    path = "/nodes/pve1/qemu/101/resize"
    assert api.done(api.put(path, disk="scsi0", size="+512M")) == "OK"
    assert api.config(101)["scsi0"].endswith("size=2560M")
    assert api.done(api.put(path, disk="scsi0", size="1G")) == "shrinking disks is not supported"


def test_a_cloud_init_drive_is_made_once(standin, api, two):
    path = "/nodes/pve1/qemu/101/config"
    said = api.put(path, ide0="local-lvm:cloudinit")
    assert said.reason == "ide0 - cloud-init drive is already attached at 'ide2'"
    assert "already exists" in api.put(path, ide2="local-lvm:cloudinit").reason
    assert api.put(path, delete="ide2").status == 200
    assert "local-lvm:vm-101-cloudinit" not in volumes(api)
    assert api.put(path, ide2="local-lvm:cloudinit").status == 200
    assert api.config(101)["ide2"] == "local-lvm:vm-101-cloudinit,media=cdrom"


def test_storages_that_cannot_are_refused_before_anything_is_made(standin, api, two):
    standin.add_storage("isoonly", content={"iso"})
    before = api.config(101)
    said = api.put("/nodes/pve1/qemu/101/config", scsi1="isoonly:4", cores=3)
    assert said.errors == {"storage": "storage 'isoonly' does not support vm images"}
    assert api.put("/nodes/pve1/qemu/101/config", scsi1="nope:4").reason == (
        "storage 'nope' does not exist"
    )
    said = api.put("/nodes/pve1/qemu/101/config", scsi1="local-lvm:vm-7-disk-0")
    assert said.reason == "volume 'local-lvm:vm-7-disk-0' does not exist"
    assert api.config(101) == before
