"""The driver through the real tofu and the real provider, on the stand-in."""

import contextlib

import pytest

from lab.errors import LabError
from tests.standins.proxmox import How


def data_of(host):
    """The volume of the durable disk, as the machine has it attached."""
    (value,) = [v for k, v in host.guest.config.items() if "serial=data" in v]
    return value.split(",")[0]


@pytest.mark.slow
def test_the_life_of_a_machine(really_on_pve):
    host = really_on_pve
    assert host.converge() == ["create disk data", "create machine"]
    assert host.converge() == []
    first, disk = host.guest.vmid, data_of(host)
    assert host.guest.config["protection"] == "0" if "protection" in host.guest.config else True

    # What somebody did in the GUI is named, attribute by attribute, and undone.
    host.standin.edit(
        first, cores="3", tags="strata;strata-web1;mine", net0=host.guest.config["net0"] + ",tag=7"
    )
    assert host.fields() == {
        "cpu": (3, 2),
        "tags": (["mine", "strata", "strata-web1"], ["strata", "strata-web1"]),
        "vlan": (7, None),
    }
    assert host.converge() == ["update machine"]

    # An edit of the persona.
    host.machine = {
        **host.machine,
        "memory": "2GiB",
        "tags": ["web"],
        "start": {"at_boot": True, "order": 2, "up": 30},
        "network": {"vlan": 20},
        "disks": {
            "root": {"size": "8GiB"},
            "data": {"size": "2GiB", "durable": True},
            "tmp": {"size": "1GiB"},
        },
    }
    assert host.converge() == [
        "update disk data",
        "create disk tmp",
        "update disk root",
        "update machine",
    ]
    assert data_of(host) == disk

    # Online, without a restart.
    began = host.guest.started
    host.machine = {**host.machine, "tags": ["web", "house"], "protection": True}
    assert host.converge() == ["update machine"]
    assert host.guest.started == began

    # Under protection nothing is removed.
    host.inputs = host.inputs.model_copy(update={"template_name": "debian-13-bbbb"})
    assert "protection" in host.plan().blockers[0].why
    host.machine = {**host.machine, "protection": False}
    # A new template: another root disk, the same durable one, the same host key.
    host.standin.add_template(9002, "debian-13-bbbb", storage="local-lvm")
    host.inputs = host.inputs.model_copy(update={"template": "9002"})
    key, root = host.observe().host_key, host.guest.config["scsi0"]
    assert host.converge() == ["replace machine"]
    assert data_of(host) == disk
    assert (host.guest.vmid, host.observe().host_key) == (first, key)
    assert root.split(",")[0] != ""

    # Destroyed: its durable disk stays, under the node's protection, and is attached to the next.
    assert host.converge(absent=True) == ["delete machine", "delete disk tmp"]
    assert first not in host.standin.world.guests
    assert host.standin.world.volumes.find(disk, "pve1") is not None
    assert not any("iso/strata" in v.volid for v in host.standin.world.volumes.on("local", "pve1"))
    assert host.converge() == ["create disk tmp", "create machine"]
    assert data_of(host) == disk

    # With its data: nothing stays.
    host.converge(absent=True, with_data=True)
    assert set(host.standin.world.guests) == {9001, 9002}
    assert host.standin.world.volumes.find(disk, "pve1") is None
    assert host.observe() is None


@pytest.mark.slow
def test_the_real_provider_meets_faults(really_on_pve):
    """A sample of what test_faults.py does with a scripted one."""
    host = really_on_pve
    for fault in (
        {"how": How.DROP_REPLY, "method": "POST", "path": "*/clone"},
        {"how": How.ANSWER, "method": "PUT", "path": "*/config", "at": 4, "for_good": True},
    ):
        host.standin.fail(**fault)
        with contextlib.suppress(LabError):
            host.converge()
        assert host.standin.faults.happened
        host.standin.faults.clear()
        host.standin.faults.forget()
        host.standin.settle()
        host.again()
        with contextlib.suppress(LabError):
            host.converge()
        host.again()
        host.converge()
        guests = sorted(g.name for g in host.standin.world.guests.values() if not g.is_template)
        assert guests == ["web1", "web1-disks"]
        host.converge(absent=True, with_data=True)
        host.standin.settle()
        assert set(host.standin.world.guests) == {9001}
        assert [v.volid for v in host.standin.world.volumes if v.owner not in {None, 9001}] == []
