"""VMs through their life: made, cloned, changed, started, moved, destroyed."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest


def test_a_clone_is_locked_until_its_task_ends(standin, api):
    standin.add_template()
    standin.fail_task("qmclone", "hang")
    upid = api.post("/nodes/pve1/qemu/9000/clone", newid=101, name="web").data
    assert set(api.config(101)) == {"lock", "digest"}
    for said in (
        api.put("/nodes/pve1/qemu/101/config", cores=2),
        api.post("/nodes/pve1/qemu/101/clone", newid=102),
        api.post("/nodes/pve1/qemu/101/template"),
    ):
        assert (said.status, said.reason) == (500, "VM is locked (clone)")
    assert api.done(api.post("/nodes/pve1/qemu/101/status/start")) == "VM is locked (clone)"
    assert api.get("/nodes/pve1/qemu/101/status/current").data["lock"] == "clone"
    assert api.delete(f"/nodes/pve1/tasks/{upid}").status == 200
    standin.settle()
    assert 101 not in standin.world.guests


def test_a_clone_has_an_identity_of_its_own(standin, api):
    standin.add_template(tags="a;b")
    assert api.done(api.post("/nodes/pve1/qemu/9000/clone", newid=101, name="web")) == "OK"
    base, made = api.config(9000), api.config(101)
    for key in ("net0", "smbios1", "vmgenid", "digest", "scsi0"):
        assert base[key] != made[key]
    assert made["scsi0"] == ("local:9000/base-9000-disk-0.qcow2/101/vm-101-disk-0.qcow2,size=2G")
    assert re.match(r"virtio=BC:24:11:(..:){2}..,bridge=vmbr0", made["net0"])
    assert "template" not in made
    assert made["tags"] == "a;b"
    assert api.done(api.delete("/nodes/pve1/qemu/9000")) == (
        "base volume 'local:9000/base-9000-disk-0.qcow2' is still in use by linked cloned"
    )


def test_the_number_that_is_taken_is_refused_in_the_real_words(standin, api):
    standin.add_template()
    standin.add_vm(101, "a")
    said = api.post("/nodes/pve1/qemu/9000/clone", newid=101)
    assert said.reason == "unable to create VM 101: config file already exists"
    said = api.post("/nodes/pve1/qemu", vmid=101)
    assert said.reason == "unable to create VM 101 - VM 101 already exists on node 'pve1'"
    assert api.get("/cluster/nextid").data == "100"
    assert api.get("/cluster/nextid", vmid=101).errors == {"vmid": "VM 101 already exists"}


def test_what_a_running_vm_cannot_take_waits(standin, api):
    standin.add_vm(101, "a")
    assert api.done(api.post("/nodes/pve1/qemu/101/status/start")) == "OK"
    assert api.put("/nodes/pve1/qemu/101/config", memory=1024, description="now").data is None
    assert api.config(101)["memory"] == "1024"
    assert api.config(101, current=1)["memory"] == "512"
    assert api.config(101, current=1)["description"] == "now"
    waiting = api.get("/nodes/pve1/qemu/101/pending").data
    assert {"key": "memory", "value": "512", "pending": "1024"} in waiting
    assert api.done(api.post("/nodes/pve1/qemu/101/status/reboot")) == "OK"
    assert api.config(101, current=1)["memory"] == "1024"


def test_a_stale_digest_is_refused_and_a_fresh_one_is_not(standin, api):
    standin.add_vm(101, "a")
    digest = api.config(101)["digest"]
    standin.edit(101, cores="4")
    said = api.put("/nodes/pve1/qemu/101/config", memory=256, digest=digest)
    assert said.reason == "checksum mismatch (file change by other user?)"
    digest = api.config(101)["digest"]
    assert api.put("/nodes/pve1/qemu/101/config", memory=256, digest=digest).status == 200
    assert api.config(101)["digest"] != digest


def test_tags_are_kept_as_created_and_put_in_order_when_changed(standin, api):
    assert api.done(api.post("/nodes/pve1/qemu", vmid=101, tags="B;a")) == "OK"
    assert api.config(101)["tags"] == "B;a"
    api.put("/nodes/pve1/qemu/101/config", tags="web,Prod web")
    assert api.config(101)["tags"] == "prod;web"


def test_protection_and_running_keep_a_vm_from_being_destroyed(standin, api):
    standin.add_vm(101, "a", protection="1")
    said = api.delete("/nodes/pve1/qemu/101")
    assert said.reason == "can't remove VM 101 - protection mode enabled"
    api.put("/nodes/pve1/qemu/101/config", delete="protection")
    api.done(api.post("/nodes/pve1/qemu/101/status/start"))
    assert api.delete("/nodes/pve1/qemu/101").reason == "VM 101 is running - destroy failed"


def test_a_vm_on_another_node_is_found_by_the_cluster(standin, api):
    standin.add_node("pve2")
    standin.add_vm(101, "a")
    standin.move_guest(101, "pve2")
    assert api.get("/nodes/pve1/qemu/101/config").status == 500
    found = api.get("/cluster/resources", type="vm").data
    assert [(one["vmid"], one["node"]) for one in found] == [(101, "pve2")]
    assert api.get("/nodes/pve2/qemu/101/config").status == 200


def test_migration_takes_local_disks_along_and_needs_the_words_for_it(standin, api):
    standin.add_node("pve2")
    standin.add_vm(101, "a", storage="local-lvm")
    path = "/nodes/pve1/qemu/101/migrate"
    assert api.get(path).data["allowed_nodes"] == ["pve2"]
    assert api.post(path, target="pve1").errors == {"target": "target is local node."}
    api.done(api.post("/nodes/pve1/qemu/101/status/start"))
    assert api.post(path, target="pve2").reason == "can't migrate running VM without --online"
    assert "with-local-disks" in api.post(path, target="pve2", online=1).reason
    assert api.done(api.post(path, target="pve2", online=1, with_local_disks=1)) == "OK"
    assert api.get("/nodes/pve2/qemu/101/status/current").data["status"] == "running"
    listed = api.get("/nodes/pve2/storage/local-lvm/content").data
    assert {one["volid"] for one in listed} == {
        "local-lvm:vm-101-disk-0",
        "local-lvm:vm-101-cloudinit",
    }


def test_a_guest_that_does_not_listen_is_not_shut_down_by_asking(standin, api):
    standin.add_vm(101, "a").listens = False
    path = "/nodes/pve1/qemu/101/status"
    api.done(api.post(f"{path}/start"))
    exit_status = api.done(api.post(f"{path}/shutdown", timeout=2))
    assert exit_status == "VM quit/powerdown failed - got timeout"
    assert api.done(api.post(f"{path}/shutdown", timeout=2, forceStop=1)) == "OK"
    assert api.done(api.post(f"{path}/stop")) == "OK"


def test_the_agent_says_the_address_that_cloud_init_was_given(standin, api):
    standin.add_vm(101, "a", ipconfig0="ip=192.0.2.11/24,gw=192.0.2.1")
    path = "/nodes/pve1/qemu/101/agent/network-get-interfaces"
    assert api.get(path).reason == "VM 101 is not running"
    api.done(api.post("/nodes/pve1/qemu/101/status/start"))
    named = {
        one["name"]: [a["ip-address"] for a in one["ip-addresses"]]
        for one in api.get(path).data["result"]
    }
    assert named["eth0"][0] == "192.0.2.11"
    standin.guest(101).agent = False
    assert api.get(path).reason == "QEMU guest agent is not running"


def test_what_a_start_needs_is_looked_for_in_the_task(standin, api):
    standin.add_vm(101, "a", net0="virtio=BC:24:11:00:00:01,bridge=vmbr9")
    start = "/nodes/pve1/qemu/101/status/start"
    assert api.done(api.post(start)) == "bridge 'vmbr9' does not exist"
    standin.add_bridge("vmbr9")
    standin.edit(101, cicustom="user=local:snippets/none.yaml")
    assert api.done(api.post(start)) == "volume 'local:snippets/none.yaml' does not exist"
    standin.add_file("local:snippets/none.yaml", b"#cloud-config\n")
    standin.edit(101, cores="64")
    assert api.done(api.post(start)) == "MAX 4 vcpus allowed per VM on this node"


def test_only_root_himself_may_pass_arguments(standin, api):
    standin.add_vm(101, "a")
    said = api.put("/nodes/pve1/qemu/101/config", args="-no-reboot")
    assert said.reason == "only root can set 'args' config"
    said = api.put("/nodes/pve1/qemu/101/config", cores=1, skiplock=1)
    assert said.errors == {"skiplock": "Only root may use this option."}


def test_a_backup_is_a_volume_of_its_vm(standin, api):
    standin.add_vm(101, "a")
    said = api.post("/nodes/pve1/vzdump", vmid="101", storage="local", compress="zstd")
    assert api.done(said) == "OK"
    [found] = api.get("/nodes/pve1/storage/local/content", content="backup").data
    assert found["vmid"] == 101
    assert re.fullmatch(r"local:backup/vzdump-qemu-101-[\d_-]+\.vma\.zst", found["volid"])
    api.done(api.delete("/nodes/pve1/qemu/101", destroy_unreferenced_disks=1))
    assert api.get("/nodes/pve1/storage/local/content", content="backup").data


def test_a_task_is_running_before_it_is_stopped(standin, api):
    standin.add_vm(101, "a")
    upid = api.post("/nodes/pve1/qemu/101/status/start").data
    standin.settle()
    path = f"/nodes/pve1/tasks/{upid}/status"
    assert [api.get(path).data["status"] for _ in range(3)] == ["running", "stopped", "stopped"]


def test_a_vm_is_there_and_locked_from_the_moment_it_is_asked_for(standin, api):
    standin.fail_task("qmcreate", "fail", "no space left")
    said = api.post("/nodes/pve1/qemu", vmid=101, scsi0="local-lvm:4")
    assert api.done(said) == "no space left"
    assert api.get("/cluster/resources", type="vm").data == []
    standin.fail_task("qmcreate", "hang")
    api.post("/nodes/pve1/qemu", vmid=101)
    assert api.config(101)["lock"] == "create"
    said = api.post("/nodes/pve1/qemu", vmid=101)
    assert said.reason.endswith("VM 101 already exists on node 'pve1'")


def test_the_next_number_is_nobodys_until_it_is_used(standin, api):
    standin.add_template()
    with ThreadPoolExecutor(6) as pool:
        numbers = [one.data for one in pool.map(lambda _: api.get("/cluster/nextid"), range(6))]
        assert set(numbers) == {"100"}
        clone = "/nodes/pve1/qemu/9000/clone"
        said = list(pool.map(lambda number: api.post(clone, newid=number), numbers))
    assert sorted(one.status for one in said) == [200] + [500] * 5
    refused = {one.reason for one in said if one.status == 500}
    assert refused == {"unable to create VM 100: config file already exists"}


def test_who_fails_half_way_leaves_the_first_half_pending(standin, api):
    standin.add_vm(101, "a")
    path = "/nodes/pve1/qemu/101/config"
    said = api.put(path, cores=3, scsi1="local-lvm:vm-7-disk-0")
    assert said.reason == "volume 'local-lvm:vm-7-disk-0' does not exist"
    assert (api.config(101)["cores"], api.config(101, current=1)["cores"]) == (3, 1)
    assert api.put(path, description="and on").status == 200
    assert api.config(101, current=1)["cores"] == 3
    assert api.put(path).reason == "no options specified"


def test_a_boot_order_follows_the_devices_that_come_and_go(standin, api):
    standin.add_vm(101, "a", boot="order=scsi0;ide2;net0")
    path = "/nodes/pve1/qemu/101/config"
    api.put(path, delete="ide2")
    assert api.config(101)["boot"] == "order=scsi0;net0"
    api.put(path, ide0="none,media=cdrom")
    assert api.config(101)["boot"] == "order=scsi0;net0;ide0"
    said = api.put(path, boot="order=scsi7")
    assert said.reason == "invalid bootorder: device 'scsi7' does not exist'"
    said = api.put(path, delete="scsi0", force=1)
    assert said.status == 200
    assert not [key for key in api.config(101) if key.startswith(("scsi0", "unused"))]
    assert api.config(101)["boot"] == "order=net0;ide0"


def test_a_running_vms_cloud_init_drive_lags_behind_until_made_anew(standin, api):
    standin.add_vm(101, "a", ciuser="joe")
    api.done(api.post("/nodes/pve1/qemu/101/status/start"))
    config, drive = "/nodes/pve1/qemu/101/config", "/nodes/pve1/qemu/101/cloudinit"
    api.put(config, ciuser="ann", cipassword="canary")
    assert {"key": "ciuser", "value": "joe", "pending": "ann"} in api.get(drive).data
    assert "canary" not in api.get(f"{drive}/dump", type="user").data
    assert api.put(drive).data is None
    assert {"key": "ciuser", "value": "ann"} in api.get(drive).data
    api.done(api.post("/nodes/pve1/qemu/101/status/stop"))
    api.put(config, ciuser="eve")
    assert {"key": "ciuser", "value": "eve"} in api.get(drive).data


def test_who_destroys_a_vm_takes_the_rights_on_it_along(standin, api):
    standin.add_vm(101, "a")
    standin.world.access.grant("/vms/101", "root@pam", "PVEVMUser")
    assert api.done(api.delete("/nodes/pve1/qemu/101")) == "OK"
    assert not [one for one in standin.world.access.grants if one.path == "/vms/101"]


@pytest.mark.parametrize("boot_first", [True, False])
def test_a_boot_order_and_a_new_cd_drive_at_once_are_a_matter_of_luck(standin, api, boot_first):
    standin.add_vm(101, "a", ide2="none,media=cdrom")
    standin.world.boot_first = boot_first
    path = "/nodes/pve1/qemu/101/config"
    api.put(path, boot="order=net0", ide0="none,media=cdrom")
    assert api.config(101)["boot"] == ("order=scsi0;ide0" if boot_first else "order=net0")
