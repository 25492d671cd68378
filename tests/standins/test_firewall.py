"""The stand-in's firewall: off by default, rules in order, in force once the daemon read them."""

import time

import pytest

from tests.standins.proxmox.firewall import CLUSTER

VM = "/nodes/pve1/qemu/101/firewall"


@pytest.fixture
def guest(standin):
    made = standin.add_vm(101, "a", storage="local-lvm")
    made.config["net0"] += ",firewall=1"
    return made


@pytest.fixture
def walls(standin):
    return standin.world.firewalls


def out(walls, guest):
    return walls.lets_out(guest, "192.0.2.1", 443)


def test_all_three_switches_must_be_on(api, guest, walls):
    assert api.get("/cluster/firewall/options").data.keys() == {"digest"}
    assert api.put(f"{VM}/options", enable=1, policy_out="DROP").status == 200
    assert out(walls, guest), "the cluster's is off"
    assert api.put("/cluster/firewall/options", enable=1).status == 200
    assert not out(walls, guest)
    guest.config["net0"] = guest.config["net0"].replace(",firewall=1", "")
    assert out(walls, guest), "it does not look at this card"


def test_the_first_rule_that_fits_decides_and_none_is_on_by_itself(api, guest, walls):
    api.put("/cluster/firewall/options", enable=1)
    api.put(f"{VM}/options", enable=1)
    door = {"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "22"}
    assert api.post(f"{VM}/rules", source="192.0.2.5", **door).status == 200
    assert not walls.lets_in(guest, "192.0.2.5", 22), "enable is 0 where it is left out"
    assert api.put(f"{VM}/rules/0", enable=1).status == 200
    assert walls.lets_in(guest, "192.0.2.5", 22)
    assert not walls.lets_in(guest, "192.0.2.6", 22), "policy_in is DROP where it is left out"
    assert out(walls, guest), "policy_out is ACCEPT where it is left out"
    assert api.post(f"{VM}/rules", type="in", action="DROP", enable=1).status == 200
    assert not walls.lets_in(guest, "192.0.2.5", 22), "a new rule stands first"
    rules = api.get(f"{VM}/rules").data
    assert [(r["pos"], r["action"]) for r in rules] == [(0, "DROP"), (1, "ACCEPT")]
    assert api.delete(f"{VM}/rules/0", digest="0" * 40).status == 500
    assert api.delete(f"{VM}/rules/0", digest=rules[0]["digest"]).status == 200
    assert walls.lets_in(guest, "192.0.2.5", 22)
    assert api.delete(f"{VM}/rules/7").reason == "no rule at position 7"


def test_what_is_malformed_is_refused(api, guest):
    rule = {"type": "in", "action": "ACCEPT"}
    assert api.post(f"{VM}/rules", source="192.0.2.300", **rule).status == 400
    assert api.post(f"{VM}/rules", dport="99999", proto="tcp", **rule).status == 400
    assert api.post(f"{VM}/rules", dport="22", **rule).status == 400
    assert api.put(f"{VM}/options", policy_in="NOTHING").status == 400


def test_who_may_see_and_change_it(standin, as_token, guest):
    access = standin.world.access
    lab = as_token(standin.add_token("lab@pve", "lab", privileges="VM.Audit", path="/vms"))
    assert lab.get(f"{VM}/options").status == 200
    for said, named in (
        (lab.put(f"{VM}/options", enable=1), "/vms/101, VM.Config.Network"),
        (lab.post(f"{VM}/rules", type="in", action="DROP"), "/vms/101, VM.Config.Network"),
        (lab.get("/cluster/firewall/options"), "/, Sys.Audit"),
        (lab.get("/nodes/pve1/firewall/options"), "/nodes/pve1, Sys.Audit"),
        (lab.put("/cluster/firewall/options", enable=1), "/, Sys.Modify"),
    ):
        assert (said.status, said.reason) == (403, f"Permission check failed ({named})")
    access.roles["role-lab-lab"] |= {"VM.Config.Network"}
    assert lab.put(f"{VM}/options", enable=1).status == 200


def test_it_counts_once_the_daemon_has_read_it_and_goes_with_its_guest(standin, api, guest, walls):
    walls.lag = 0.3
    api.put("/cluster/firewall/options", enable=1)
    api.put(f"{VM}/options", enable=1, policy_out="DROP")
    assert api.get(f"{VM}/options").data["policy_out"] == "DROP"
    assert out(walls, guest)
    time.sleep(0.35)
    assert not out(walls, guest)
    assert api.done(api.post("/nodes/pve1/qemu/101/clone", newid=102, full=1)) == "OK"
    assert walls.of(102).options["policy_out"] == "DROP"
    assert api.done(api.delete("/nodes/pve1/qemu/101")) == "OK"
    assert walls.of(101).options == {}
    assert walls.of(CLUSTER).options == {"enable": "1"}
