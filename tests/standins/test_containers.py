"""Containers: the second kind of guest."""

import re

import pytest

TEMPLATE = "local:vztmpl/debian-13.tar.zst"
NET = "name=eth0,bridge=vmbr0,ip=192.0.2.11/24,gw=192.0.2.1"


@pytest.fixture
def container(standin, api):
    standin.add_file(TEMPLATE, b"tar")
    said = api.post(
        "/nodes/pve1/lxc", vmid=101, ostemplate=TEMPLATE, rootfs="local-lvm:8", net0=NET,
        hostname="web", memory=1024, cores=2, unprivileged=1, tags="b;a", password="secret1",
    )  # fmt: skip
    assert api.done(said) == "OK"
    return "/nodes/pve1/lxc/101"


def test_a_container_is_made_as_declared(api, container):
    config = api.get(f"{container}/config").data
    assert config["rootfs"] == "local-lvm:vm-101-disk-0,size=8G"
    assert (config["memory"], config["cores"], config["unprivileged"]) == (1024, 2, 1)
    assert re.fullmatch(
        r"name=eth0,bridge=vmbr0,gw=192.0.2.1,hwaddr=BC:24:11:(..:){2}..,"
        r"ip=192.0.2.11/24,type=veth",
        config["net0"],
    )
    assert "password" not in config
    found = api.get("/cluster/resources", type="vm").data
    assert [(one["id"], one["type"]) for one in found] == [("lxc/101", "lxc")]
    assert api.get("/nodes/pve1/qemu").data == []


def test_it_starts_says_its_address_and_stops(api, container):
    assert api.get(f"{container}/interfaces").data is None
    assert api.done(api.post(f"{container}/status/start")) == "OK"
    assert api.post(f"{container}/status/start").reason == "CT 101 already running"
    eth0 = api.get(f"{container}/interfaces").data[1]
    assert (eth0["name"], eth0["inet"]) == ("eth0", "192.0.2.11/24")
    assert api.delete(container).reason == "CT 101 is running - destroy failed"
    api.put(f"{container}/config", memory=2048, features="nesting=1")
    pending = {one["key"]: one.get("pending") for one in api.get(f"{container}/pending").data}
    assert (pending["memory"], pending["features"]) == (None, "nesting=1")
    assert api.done(api.post(f"{container}/status/shutdown")) == "OK"
    assert api.post(f"{container}/status/stop").reason == "CT 101 not running"
    assert api.done(api.delete(container)) == "OK"
    assert api.get("/nodes/pve1/storage/local-lvm/content").data == []


def test_its_volumes_grow_stay_and_go(api, container):
    config = f"{container}/config"
    assert api.done(api.put(f"{container}/resize", disk="rootfs", size="+2G")) == "OK"
    assert api.get(config).data["rootfs"].endswith("size=10G")
    api.put(config, mp0="local-lvm:1,mp=/srv")
    assert api.get(config).data["mp0"] == "local-lvm:vm-101-disk-1,mp=/srv,size=1G"
    api.put(config, delete="mp0")
    assert api.get(config).data["unused0"] == "local-lvm:vm-101-disk-1"
    api.put(config, delete="unused0")
    volumes = api.get("/nodes/pve1/storage/local-lvm/content").data
    assert [one["volid"] for one in volumes] == ["local-lvm:vm-101-disk-0"]


def test_a_template_is_cloned(api, container):
    assert api.post(f"{container}/template").data is None
    said = api.post(f"{container}/clone", newid=102, hostname="two")
    assert api.done(said) == "OK"
    made = api.get("/nodes/pve1/lxc/102/config").data
    assert made["hostname"] == "two"
    assert made["net0"] != api.get(f"{container}/config").data["net0"]


def test_a_number_belongs_to_one_kind_of_guest(standin, api, container):
    said = api.post("/nodes/pve1/lxc", vmid=101, ostemplate=TEMPLATE)
    assert said.reason == "CT 101 already exists on node 'pve1'"
    assert api.get("/nodes/pve1/qemu/101/config").status == 500
    said = api.post("/nodes/pve1/lxc", vmid=103, ostemplate="local:vztmpl/none.tar.zst")
    assert said.reason == "volume 'local:vztmpl/none.tar.zst' does not exist"
