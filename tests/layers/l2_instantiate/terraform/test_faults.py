"""What goes wrong on the way: each call of the API in turn, lost answers, a killed run, strangers.

After each: the same again converges; one machine, one shelf, nothing else; the durable disk's
volume is the one it was; what is foreign is byte for byte what it was.
"""

import contextlib

import pytest

from lab.errors import LabError
from tests.standins.proxmox import How


def only(host, *more):
    """Nothing is there but the template, the machine, its shelf, and strangers."""
    world = host.standin.world
    guests = {g.name: g for g in world.guests.values() if not g.is_template}
    assert set(guests) == {"web1", "web1-disks", *more}, guests
    assert len(world.guests) == len(guests) + 1, world.guests
    disks = [v for v in world.volumes if v.owner is not None and v.owner != 9001]
    named = {text.split(",")[0] for g in guests.values() for text in g.config.values()}
    assert all(v.volid in named for v in disks), disks
    assert len([v for v in world.volumes if "iso/strata" in v.volid]) == 1


def settle(host):
    """The same again, until it is through: a person would do no more."""
    host.standin.settle()
    for _ in range(3):
        host.again()
        try:
            host.converge()
        except LabError:
            continue
        return
    host.converge()


def gone(host):
    """Destroyed with its data: only the template is left, and no seed."""
    host.converge(absent=True, with_data=True)
    host.standin.settle()
    world = host.standin.world
    assert {g.vmid for g in world.guests.values()} == {9001}
    assert [v for v in world.volumes if v.owner not in {None, 9001} or "strata" in v.volid] == []


def sweep(host, prepare, do, **fault):
    """``do`` with the fault at one call after the other, until it is past the last; how many."""
    for at in range(1, 200):
        prepare()
        host.standin.faults.forget()
        host.standin.fail(at=at, **fault)
        with contextlib.suppress(LabError):  # nothing else may come of it
            do()
        happened = bool(host.standin.faults.happened)
        host.standin.faults.clear()
        if not happened:
            return at - 1
        settle(host)
        only(host)
    raise AssertionError("it never ends")


CREATING = [
    {"how": How.ANSWER, "method": "P*"},
    {"how": How.DROP_REPLY, "method": "P*"},
    {"how": How.ANSWER, "method": "P*", "for_good": True},
    {"how": How.ANSWER, "method": "GET", "for_good": True, "status": 596},
]


@pytest.mark.slow
@pytest.mark.parametrize("fault", CREATING, ids=["once", "lost", "good", "reads"])
def test_making_a_machine_with_each_call_failing(quiet_pve, fault):
    host = quiet_pve

    def prepare():
        if host.observe() is not None:
            gone(host)

    assert sweep(host, prepare, host.converge, **fault) > 8


@pytest.mark.slow
@pytest.mark.parametrize("fault", CREATING[:2], ids=["once", "lost"])
def test_replacing_a_machine_with_each_call_failing(quiet_pve, fault):
    """Its durable disk is the same volume, whatever happens on the way."""
    host = quiet_pve
    host.converge()
    volume = disk_of(host)

    def replace():
        host.converge(renew=True)

    def same():
        settle(host)
        assert disk_of(host) == volume

    assert sweep(host, same, replace, **fault) >= 8  # so many calls change something
    assert disk_of(host) == volume


def disk_of(host):
    world = host.standin.world
    (found,) = [
        text.split(",")[0]
        for g in world.guests.values()
        if g.name == "web1"
        for text in g.config.values()
        if "serial=data" in text
    ]
    assert world.volumes.find(found, "pve1") is not None
    return found


POINTS = (
    "l2.shelf.claimed",
    "l2.shelf.made",
    "l2.shelf.put",
    "l2.seed.brought",
    "l2.guest.claimed",
    "l2.tofu.ready",
    "l2.tofu.planned",
    "l2.tofu.applied",
    "l2.guest.made",
    "l2.guest.stopped",
    "l2.guest.detached",
    "l2.guest.removed",
    "l2.shelf.open",
    "l2.shelf.dropped",
)


class Killed(BaseException):
    """Nobody catches it: what a kill leaves is left."""


@pytest.fixture
def killed(monkeypatch):
    """The next time the run comes by that point, it ends there."""
    from layers.l2_instantiate.drivers.terraform import building, power, project, seed, shelf

    wanted, seen = [], []

    def point(name):
        if name in wanted:
            wanted.remove(name)
            seen.append(name)
            raise Killed

    for module in (building, power, project, seed, shelf):
        monkeypatch.setattr(module, "point", point)
    return wanted, seen


@pytest.mark.parametrize("name", POINTS)
def test_killed_at_a_point_the_same_again_gets_through(quiet_pve, killed, name):
    host, (wanted, seen) = quiet_pve, killed
    wanted.append(name)
    host.machine = {**host.machine, "disks": {**host.machine["disks"], "tmp": {"size": "1GiB"}}}
    with contextlib.suppress(Killed):
        host.converge()
    settle(host)
    only(host)
    volume = disk_of(host)
    with contextlib.suppress(Killed):
        host.converge(renew=True)
    settle(host)
    only(host)
    assert disk_of(host) == volume
    with contextlib.suppress(Killed):
        host.converge(absent=True, with_data=True)
    host.again()
    gone(host)
    assert seen == [name]


def strange(host):
    return {
        g.vmid: (dict(g.config), g.running)
        for g in host.standin.world.guests.values()
        if g.vmid in {110, 111}
    }


def test_what_is_foreign_stays_as_it_is(quiet_pve):
    """One with our number, and one with our name that nobody marked."""
    host = quiet_pve
    host.converge()
    number = host.observe().id
    host.converge(absent=True, with_data=True)
    host.standin.add_vm(number, "theirs")
    host.standin.add_vm(111, "other")
    before = dict(host.standin.guest(number).config)
    host.again()
    host.converge()
    assert host.observe().id != number
    assert host.standin.guest(number).config == before


def test_one_with_our_name_is_refused_and_taken_over_only_when_asked(quiet_pve):
    host = quiet_pve
    host.standin.add_vm(111, "web1")
    before = strange(host)
    (blocker,) = host.plan().blockers
    assert "VM 111 on pve1 exists already and does not say who made it" in blocker.why
    assert strange(host) == before


def test_our_number_taken_by_a_stranger_while_we_make_it(quiet_pve, monkeypatch):
    """Between our look and tofu's asking: another number, and the stranger is untouched."""
    from layers.l2_instantiate.drivers.terraform.project import Project

    host, taken = quiet_pve, []
    plan = Project.plan

    def planned(project, document, doing, *, destroy=False):
        found = plan(project, document, doing, destroy=destroy)
        one = document["resource"]["proxmox_virtual_environment_vm"]["machine"]
        if not taken:
            taken.append(one["vm_id"])
            host.standin.add_vm(one["vm_id"], "theirs")
        return found

    monkeypatch.setattr(Project, "plan", planned)
    host.converge()
    assert host.observe().id != taken[0]
    assert host.standin.guest(taken[0]).name == "theirs"


def test_moved_to_another_node_it_is_found_by_its_number(quiet_pve):
    host = quiet_pve
    host.standin.add_node("pve2")
    host.machine = {**host.machine, "disks": {"root": {"size": "6GiB"}}}
    host.converge()
    host.standin.move_guest(host.observe().id, "pve2")
    assert host.observe().node == "pve2"
    assert host.plan().changes == ()
    host.machine = {**host.machine, "memory": "2GiB"}
    assert host.converge() == ["update machine"]
    assert host.observe().node == "pve2"


def test_a_pending_value_is_told_from_a_live_one(quiet_pve):
    host = quiet_pve
    host.converge()
    guest = host.standin.guest(host.observe().id)
    guest.pending["memory"] = "4096"
    assert host.fields() == {"memory at the next start": ("4GiB", "1GiB")}
    began = guest.started
    assert host.converge() == ["update machine"]
    assert guest.started == began


def test_the_state_lost_with_the_controller_is_made_anew_from_the_machine(quiet_pve, tmp_path):
    """Only git and the node are left: found by its mark, taken into a new state, changed."""
    import shutil

    host = quiet_pve
    host.converge()
    vmid, volume = host.observe().id, disk_of(host)
    for name in ("machines", "disks", "tofu"):
        shutil.rmtree(host.workspace.state / name, ignore_errors=True)
    host.again()
    assert host.observe().id == vmid
    host.machine = {**host.machine, "memory": "2GiB"}
    host.converge()
    assert (host.observe().id, disk_of(host)) == (vmid, volume)


def test_an_empty_shelf_goes_with_its_host(quiet_pve, killed):
    host, (wanted, _) = quiet_pve, killed
    wanted.append("l2.shelf.made")
    with pytest.raises(Killed):
        host.converge()
    host.again()
    gone(host)


def test_disposable_disks_are_new_with_their_machine(quiet_pve):
    host = quiet_pve
    host.machine = {**host.machine, "disks": {**host.machine["disks"], "tmp": {"size": "1GiB"}}}
    host.converge()
    volumes = host.standin.world.volumes
    old = {name: volumes.find(f"local-lvm:{name}", "pve1") for name in named(host)}
    volume = disk_of(host)
    assert host.converge(renew=True) == ["replace machine"]
    assert disk_of(host) == volume
    new = [volumes.find(f"local-lvm:{name}", "pve1") for name in named(host)]
    assert len([v for v in new if not any(v is o for o in old.values())]) == 2  # root and tmp


def named(host):
    """The volumes of the machine."""
    (guest,) = [g for g in host.standin.world.guests.values() if g.name == "web1"]
    drives = [v.split(",")[0] for k, v in guest.config.items() if k.startswith(("scsi0", "virtio"))]
    return [drive.partition(":")[2] for drive in drives]


def test_a_disk_added_by_hand_is_told_detached_and_kept(quiet_pve):
    host = quiet_pve
    host.converge()
    vmid = host.observe().id
    host.standin.add_disk(f"local-lvm:vm-{vmid}-disk-9", owner=vmid)
    host.standin.edit(vmid, virtio9=f"local-lvm:vm-{vmid}-disk-9,size=1G")
    assert host.fields() == {"disks": (["data", "virtio9"], ["data"])}
    host.converge(renew=True)
    assert "kept-virtio9" in host.observe().disks
    kept = [v for v in host.standin.world.volumes if v.size == 1 << 30 and v.owner != vmid]
    assert len(kept) == 2  # data, and the one that nobody declared


def test_moved_while_we_look_it_is_not_taken_for_gone(quiet_pve):
    """The list is some seconds old and names another node: no twin is planned, nothing removed."""
    host = quiet_pve
    host.standin.add_node("pve2")
    host.converge()
    vmid = host.observe().id
    host.api.vms()  # remembered from now on
    host.standin.move_guest(vmid, "pve2")
    observed = host.driver.observe(host.target())
    assert (observed.id, observed.node) == (vmid, "pve2")


def test_a_machine_that_is_there_after_all_is_not_made_over(quiet_pve):
    host = quiet_pve
    plan = host.plan()
    host.converge()
    before = dict(host.guest.config)
    with pytest.raises(LabError, match="is there after all"):
        host.driver.apply(host.target(), plan.changes[-1])
    assert host.guest.config == before
