"""A machine that must reach nothing: its rules stand before it runs, whatever goes wrong."""

import contextlib
from dataclasses import replace

import pytest

from lab.errors import DriverError, LabError
from lab.model.secret import Secret
from layers.l2_instantiate.drivers.terraform import wall
from tests.layers.l2_instantiate.terraform.conftest import Known
from tests.standins.proxmox import How
from tests.standins.proxmox.firewall import CLUSTER, Written

RUNNER = "127.0.0.1"


def switch(pve, whose=CLUSTER, *, on):
    pve.world.firewalls.write(whose, Written({"enable": str(int(on))}))


@pytest.fixture
def twin(quiet_pve, monkeypatch):
    """One host whose machine is isolated. Whoever starts it unwalled is remembered."""
    host = quiet_pve
    host.provider |= {"isolated": True, "drills": {"runner": RUNNER}}
    host.unwalled, host.starts = [], 0
    monkeypatch.setattr(wall, "SETTLE", 0.0)

    def start(guest, config, files):
        host.starts += 1
        walls = host.standin.world.firewalls
        closed = not walls.lets_out(guest, "192.0.2.1", 53, "udp")
        closed &= not walls.lets_in(guest, "192.0.2.9", 22)
        if not closed and guest.name == "drill-web1":
            host.unwalled.append(guest.vmid)

    host.standin.world.on_start = start
    switch(host.standin, on=True)
    return host


def machine(host):
    (found,) = [g for g in host.standin.world.guests.values() if g.name == "drill-web1"]
    return found


def is_right(host):
    guest, walls = machine(host), host.standin.world.firewalls
    assert host.unwalled == []
    assert walls.lets_in(guest, RUNNER, 22)
    assert not walls.lets_in(guest, RUNNER, 80)
    assert not walls.lets_in(guest, "192.0.2.9", 22)
    assert not walls.lets_out(guest, RUNNER, 22)
    assert len(walls.of(guest.vmid).rules) == 1


def test_a_twin_has_a_place_of_its_own_and_its_rules_before_it_runs(twin):
    twin.converge()
    is_right(twin)
    guest = machine(twin)
    shelf = next(g for g in twin.standin.world.guests.values() if g.name == "drill-web1-disks")
    assert all(8000 <= g.vmid <= 8999 for g in (guest, shelf))
    assert guest.config["tags"] == "strata;strata_drill;strata_drill-web1"
    assert guest.config.get("onboot", "0") == "0"
    options = twin.standin.world.firewalls.of(guest.vmid).options
    assert (options["dhcp"], options["ndp"], options["radv"]) == ("0", "0", "0")
    assert twin.converge() == []


def test_it_stands_beside_the_machine_that_it_is_a_twin_of(twin):
    """The host's own machine and shelf are what they were, and neither takes the other for its."""
    twin.provider["isolated"] = False
    twin.converge()
    real = {g.vmid: dict(g.config) for g in twin.standin.world.guests.values()}
    (mac,) = [c["net0"] for c in real.values() if c["name"] == "web1"]
    twin.provider["isolated"] = True
    twin.workspace = _another_lab(twin.workspace)
    twin.again()
    twin.converge()
    is_right(twin)
    assert machine(twin).config["net0"].split(",")[0] != mac.split(",")[0]
    twin.converge(absent=True, with_data=True)
    assert {g.vmid: dict(g.config) for g in twin.standin.world.guests.values()} == real


def _another_lab(workspace):
    return replace(workspace, lab="drill-x", state=workspace.state / "drill-x", _resources={})


def test_where_the_firewall_is_off_nothing_is_started(twin):
    switch(twin.standin, on=False)
    with pytest.raises(DriverError, match="the firewall of the cluster is off") as caught:
        twin.converge()
    assert "pvesh set /cluster/firewall/options --enable 1" in caught.value.hint
    assert "--sandbox docker" in caught.value.hint
    assert twin.starts == 0
    switch(twin.standin, on=True)
    switch(twin.standin, "pve1", on=False)
    twin.again()
    with pytest.raises(DriverError, match="the firewall of the node pve1 is off"):
        twin.converge()
    assert twin.starts == 0


def test_a_card_that_the_firewall_does_not_look_at_is_refused(twin, monkeypatch):
    twin.standin.edit(9001, net1="virtio=BC:24:11:00:00:07,bridge=vmbr0")
    with pytest.raises(DriverError, match="does not look at net1"):
        twin.converge()
    assert twin.starts == 0


def test_what_the_daemon_has_not_read_yet_does_not_count(twin, monkeypatch):
    """Rules are compiled each ten seconds: the start waits for longer than that."""
    twin.standin.world.firewalls.lag = 0.6
    twin.converge()
    assert twin.unwalled == [machine(twin).vmid], "without waiting it ran open"
    twin.unwalled.clear()
    twin.converge(absent=True, with_data=True)
    monkeypatch.setattr(wall, "SETTLE", 0.9)
    twin.again()
    twin.converge()
    is_right(twin)


def test_rules_that_somebody_changes_are_told_and_put_right(twin):
    twin.converge()
    guest = machine(twin)
    for edit in (
        lambda w: w.options.update(policy_out="ACCEPT"),
        lambda w: w.rules.insert(0, {"type": "out", "action": "ACCEPT", "enable": 1}),
        lambda w: w.rules.append({"type": "in", "action": "ACCEPT", "proto": "tcp", "enable": 1}),
        lambda w: w.rules.clear(),
        lambda w: w.rules[0].update(source="0.0.0.0/0"),
    ):
        written = twin.standin.world.firewalls.of(guest.vmid)
        edit(written)
        twin.standin.world.firewalls.write(guest.vmid, written)
        assert twin.fields() == {"isolated": (False, True)}
        assert twin.converge() == ["update machine"]
        is_right(twin)


def test_by_dhcp_it_is_closed_first_and_opened_once_its_address_is_known(twin):
    twin.address = None
    twin.provider["drills"] = {}
    start = twin.standin.world.on_start

    def started(guest, config, files):
        start(guest, config, files)
        assert twin.standin.world.firewalls.of(guest.vmid).rules == []
        guest.addresses = ["10.255.255.77/24"]

    twin.standin.world.on_start = started
    twin.converge()
    guest = machine(twin)
    written = twin.standin.world.firewalls.of(guest.vmid)
    assert written.options["dhcp"] == "1"
    assert [r["source"] for r in written.rules] == [wall.runner(twin.target(), "10.255.255.77")]
    assert twin.unwalled == []


FAULTS = [
    {"how": How.ANSWER},
    {"how": How.DROP_REPLY},
    {"how": How.ANSWER, "status": 403},
    {"how": How.ANSWER, "status": 596},
]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=["refused", "lost", "forbidden", "gateway"])
def test_each_call_of_the_firewall_failing_starts_nothing_unwalled(twin, fault):
    """Once each, reads and writes; the same again is through, and removing leaves nothing."""
    twin.machine = {**twin.machine, "disks": {"root": {"size": "6GiB"}}}
    for at in range(1, 60):
        twin.standin.fail(at=at, method="*", path="*firewall*", **fault)
        with contextlib.suppress(LabError):
            twin.converge()
        happened = bool(twin.standin.faults.happened)
        twin.standin.faults.clear()
        twin.standin.faults.forget()
        twin.standin.settle()
        assert twin.unwalled == []
        twin.again()
        twin.converge()
        is_right(twin)
        twin.converge(absent=True, with_data=True)
        assert {g.vmid for g in twin.standin.world.guests.values()} == {9001}
        if not happened:
            assert at > 8
            return
    raise AssertionError("it never ends")


class Killed(BaseException):
    """Nobody catches it."""


POINTS = ("l2.tofu.applied", "l2.wall.closed", "l2.wall.door", "l2.wall.stands", "l2.guest.started")


@pytest.mark.parametrize("name", POINTS)
def test_killed_at_any_point_it_never_ran_unwalled(twin, monkeypatch, name):
    from layers.l2_instantiate.drivers.terraform import building, power, project

    wanted = [name]

    def point(said):
        if said in wanted:
            wanted.remove(said)
            raise Killed

    for module in (building, power, project, wall):
        monkeypatch.setattr(module, "point", point)
    with contextlib.suppress(Killed):
        twin.converge()
    assert wanted == []
    assert twin.unwalled == []
    if name in {"l2.tofu.applied", "l2.wall.closed", "l2.wall.door", "l2.wall.stands"}:
        assert twin.starts == 0
    twin.again()
    twin.converge()
    is_right(twin)


def test_without_the_privilege_it_is_refused_by_name(twin):
    access = twin.standin.world.access
    everything = " ".join(access.roles["Administrator"] - {"VM.Config.Network"})
    twin.converge()
    token = twin.standin.add_token("lab@pve", "lab", privileges=everything)
    written = twin.standin.world.firewalls.of(machine(twin).vmid)
    written.rules.clear()
    twin.standin.world.firewalls.write(machine(twin).vmid, written)
    twin.provider["token"] = Secret("pve", Known(token))
    twin.again()
    with pytest.raises(LabError, match=r"VM\.Config\.Network"):
        twin.converge()
    assert twin.unwalled == []


def test_the_drills_range_full_is_told_by_its_setting(twin):
    twin.provider["vmids"] = {"drills": "8000-8000"}
    twin.standin.add_vm(8000, "theirs")
    with pytest.raises(LabError, match="all VMIDs from 8000-8000 are taken") as caught:
        twin.converge()
    assert "drills" in caught.value.hint
