"""Containers (LXC) through the real tofu and the real provider: the same life as a machine's."""

import pytest

VZTMPL = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"
CONTAINER = {
    "kind": "lxc",
    "cpu": 1,
    "memory": "512MiB",
    "template": VZTMPL,
    "disks": {
        "root": {"size": "4GiB"},
        "data": {"size": "1GiB", "durable": True, "mount": "/srv"},
    },
}


@pytest.fixture
def box(really_on_pve, monkeypatch):
    from layers.l2_instantiate import network

    # The stand-in opens no door for a container; and its host key is nobody's to know beforehand.
    monkeypatch.setattr(network, "speaks_ssh", lambda *_, **__: True)
    host = really_on_pve
    host.machine = {**CONTAINER}
    host.standin.add_file(VZTMPL, b"a container's files")
    return host


def volume_of(host):
    (value,) = [v for k, v in host.guest.config.items() if k.startswith("mp")]
    return value.split(",")[0]


@pytest.mark.slow
def test_the_life_of_a_container(box):
    assert box.converge() == ["create disk data", "create machine"]
    assert box.converge() == []
    disk = volume_of(box)
    box.standin.edit(box.guest.vmid, memory="1024", tags="strata;strata-web1;mine")
    assert box.fields() == {
        "memory": ("1GiB", "512MiB"),
        "tags": (["mine", "strata", "strata-web1"], ["strata", "strata-web1"]),
    }
    box.converge()
    assert box.converge(renew=True) == ["replace machine"]
    assert volume_of(box) == disk
    assert box.converge(absent=True) == ["delete machine"]
    assert box.standin.world.volumes.find(disk, "pve1") is not None
    assert box.converge() == ["create machine"]
    assert volume_of(box) == disk
    box.converge(absent=True, with_data=True)
    assert set(box.standin.world.guests) == {9001}
