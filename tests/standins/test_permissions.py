"""Who may do what: refused by name, or silently filtered, as the real API does."""

import pytest

CLONE = "VM.Clone VM.Allocate VM.Audit"


@pytest.fixture
def template(standin):
    return standin.add_template(storage="local-lvm")


def test_a_separated_token_is_powerless_until_the_acl_names_it(standin, as_token, template):
    token = standin.add_token("lab@pve", "t1")
    standin.world.access.grant("/", "lab@pve", "PVEVMAdmin")
    api = as_token(token)
    assert api.get("/nodes/pve1/qemu").data == []
    assert api.get("/cluster/resources", type="vm").data == []
    assert api.get("/access/permissions").data == {}
    said = api.get("/nodes/pve1/qemu/9000/config")
    assert (said.status, said.reason) == (403, "Permission check failed (/vms/9000, VM.Audit)")
    standin.world.access.grant("/", "lab@pve!t1", "PVEAuditor")
    assert [one["vmid"] for one in api.get("/nodes/pve1/qemu").data] == [9000]
    assert "VM.Audit" in api.get("/access/permissions").data["/vms"]
    assert "VM.Clone" not in api.get("/access/permissions").data["/vms"]


def test_each_privilege_that_a_clone_needs_is_named_when_missing(standin, as_token, template):
    api = as_token(standin.add_token("lab@pve", "t", privileges="VM.Audit"))
    role = "role-lab-t"
    needed = (
        ("VM.Clone", "/vms/9000, VM.Clone"),
        ("VM.Allocate", None),
        ("Datastore.AllocateSpace", "/storage/local-lvm, Datastore.AllocateSpace"),
        ("SDN.Use", "/sdn/zones/localnetwork/vmbr0, SDN.Use"),
    )
    roles = standin.world.access.roles
    for privilege, named in needed:
        said = api.post("/nodes/pve1/qemu/9000/clone", newid=101)
        text = f" ({named})" if named else ""
        assert (said.status, said.reason) == (403, f"Permission check failed{text}")
        roles[role] |= {privilege}
    assert api.done(api.post("/nodes/pve1/qemu/9000/clone", newid=101)) == "OK"


def test_settings_have_privileges_each(standin, as_token):
    standin.add_vm(101, "a", storage="local-lvm")
    privileges = "VM.Audit VM.Config.CPU Datastore.AllocateSpace"
    api = as_token(standin.add_token("lab@pve", "t", privileges=privileges))
    path = "/nodes/pve1/qemu/101/config"
    assert api.put(path, cores=2).status == 200
    for setting, value, privilege in (
        ("memory", "512", "VM.Config.Memory"),
        ("tags", "a", "VM.Config.Options"),
        ("ciuser", "a", "VM.Config.Cloudinit|VM.Config.Network"),
        ("vga", "std", "VM.Config.HWType"),
        ("scsi1", "local-lvm:1", "VM.Config.Disk"),
        ("ide0", "none,media=cdrom", "VM.Config.CDROM"),
        ("ide0", "local-lvm:cloudinit", "VM.Config.Cloudinit"),
        ("net1", "virtio", "VM.Config.Network"),
    ):
        said = api.put(path, **{setting: value})
        assert said.reason == f"Permission check failed (/vms/101, {privilege})"
    standin.world.access.roles["role-lab-t"] |= {"VM.Config.Options"}
    said = api.put(path, startup="order=1")
    assert said.reason == "Permission check failed (/, Sys.Modify)"
    standin.world.access.roles["role-lab-t"] |= {"VM.Config.HWType"}
    said = api.put(path, serial1="/dev/ttyS0")
    assert said.reason == "only root can set 'serial1' config for real devices"


def test_a_vlan_needs_its_own_right_unless_the_bridges_propagates(standin, as_token):
    standin.add_vm(101, "a", storage="local-lvm")
    api = as_token(standin.add_token("lab@pve", "t", privileges="VM.Config.Network"))
    path = "/nodes/pve1/qemu/101/config"
    said = api.put(path, net1="virtio,bridge=vmbr0,tag=5")
    assert said.reason == "Permission check failed (/sdn/zones/localnetwork/vmbr0/5, SDN.Use)"
    for whom in ("lab@pve", "lab@pve!t"):
        standin.world.access.grant("/sdn/zones/localnetwork/vmbr0/5", whom, "PVESDNUser")
    assert api.put(path, net1="virtio,bridge=vmbr0,tag=5").status == 200
    assert api.put(path, net1="virtio,bridge=vmbr0").status == 403


def test_a_pool_gives_rights_on_its_members(standin, api, as_token, template):
    api.post("/pools", poolid="lab")
    token = standin.add_token("lab@pve", "t", privileges=CLONE, path="/pool/lab")
    lab = as_token(token)
    for path in ("/vms/9000", "/storage/local-lvm", "/sdn/zones/localnetwork"):
        for whom in ("lab@pve", "lab@pve!t"):
            for role in ("PVETemplateUser", "PVEDatastoreUser", "PVESDNUser"):
                standin.world.access.grant(path, whom, role)
    assert lab.post("/nodes/pve1/qemu/9000/clone", newid=101).status == 403
    said = lab.post("/nodes/pve1/qemu/9000/clone", newid=101, pool="lab")
    assert lab.done(said) == "OK"
    assert lab.get("/nodes/pve1/qemu/101/config").status == 200
    members = api.get("/pools", poolid="lab").data[0]["members"]
    assert [one["vmid"] for one in members] == [101]
    assert (
        api.delete("/pools", poolid="lab").reason == "delete pool failed: pool 'lab' is not empty"
    )


def test_a_borrowed_disk_needs_a_right_on_its_storage_and_owner(standin, as_token):
    standin.add_vm(101, "a", storage="local-lvm")
    standin.add_disk("local-lvm:vm-900-disk-0", owner=900)
    api = as_token(standin.add_token("lab@pve", "t", privileges="VM.Config.Disk", path="/vms/101"))
    path = "/nodes/pve1/qemu/101/config"
    said = api.put(path, scsi1="local-lvm:vm-900-disk-0")
    assert said.reason == "Permission check failed (/storage/local-lvm, Datastore.Audit)"
    for whom in ("lab@pve", "lab@pve!t"):
        standin.world.access.grant("/storage/local-lvm", whom, "PVEDatastoreUser")
    said = api.put(path, scsi1="local-lvm:vm-900-disk-0")
    assert said.reason == "Permission check failed (/vms/900, VM.Config.Disk)"
    for whom in ("lab@pve", "lab@pve!t"):
        standin.world.access.grant("/vms/900", whom, "PVEVMAdmin")
    assert api.put(path, scsi1="local-lvm:vm-900-disk-0").status == 200


def test_what_may_not_be_read_is_left_out_of_a_storages_list(standin, as_token):
    standin.add_vm(101, "a", storage="local-lvm")
    standin.add_file("local:import/x.qcow2", b"x")
    api = as_token(standin.add_token("lab@pve", "t", privileges="Datastore.Audit"))
    assert api.get("/nodes/pve1/storage/local-lvm/content").data == []
    listed = api.get("/nodes/pve1/storage/local/content").data
    assert [one["volid"] for one in listed] == ["local:import/x.qcow2"]
    standin.world.access.roles["role-lab-t"] |= {"VM.Config.Disk"}
    assert len(api.get("/nodes/pve1/storage/local-lvm/content").data) == 2


def test_users_roles_tokens_and_the_acl_are_made_through_the_api(api, as_token):
    api.post("/access/users", userid="lab@pve", comment="the lab")
    api.post("/access/roles", roleid="Lab", privs="VM.Audit,Sys.Audit")
    made = api.post("/access/users/lab@pve/token/t1", privsep=0).data
    api.put("/access/acl", path="/", users="lab@pve", roles="Lab")
    lab = as_token(f"{made['full-tokenid']}={made['value']}")
    assert lab.get("/nodes").data[0]["maxcpu"] == 4
    assert "value" not in api.get("/access/users/lab@pve/token/t1").data
    assert {"path": "/", "propagate": 1, "roleid": "Lab", "type": "user", "ugid": "lab@pve"} in (
        api.get("/access/acl").data
    )
    said = lab.post("/access/users", userid="x@pve")
    assert said.reason == "Permission check failed (/access/realm/pve, Realm.AllocateUser)"


def test_a_tasks_owner_and_auditors_see_it(standin, api, as_token):
    standin.add_vm(101, "a")
    upid = api.post("/nodes/pve1/qemu/101/status/start").data
    stranger = as_token(standin.add_token("x@pve", "t"))
    said = stranger.get(f"/nodes/pve1/tasks/{upid}/status")
    assert said.reason == "Permission check failed (/nodes/pve1, Sys.Audit)"
    assert stranger.get("/nodes/pve1/tasks").data == []
