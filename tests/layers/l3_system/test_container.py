"""On a container: what is the kernel's of this machine is left out, and told."""

import pytest

from lab.layer import Target
from lab.model.host import Host
from layers.l3_system import LAYER, planner
from layers.l3_system.spec import Document, Inputs, Observed

SYSTEM = {
    "sysctl": {"vm.swappiness": 10, "net.ipv4.ip_forward": 1, "kernel.shmmax": 1},
    "swap": {"/swapfile": "1GiB"},
    "kernel_modules": ["br_netfilter"],
    "files": {"/etc/motd": {"content": "hello"}},
}
MACHINE = {"disks": {"root": {"size": "8GiB"}, "data": {"size": "1GiB", "mount": "/srv"}}}


def target(kind, system=None):
    document = {"provider": {"kind": kind}, "machine": MACHINE, "system": system or SYSTEM}
    (part,) = LAYER.parts(Document.model_validate(document))
    return Target(Host("web1", "web", "box"), part.spec, Inputs())


def names(plan):
    return {change.what for change in plan.changes}


def test_a_container_gets_what_it_can_have_for_itself():
    plan = planner.plan(target("docker"), Observed(), frozenset())
    assert names(plan) == {
        *("file /etc/motd", "sysctl net.ipv4.ip_forward", "sysctl kernel.shmmax"),
        "hostname web1",
    }
    what = "vm.swappiness, /swapfile, module br_netfilter on web1 are left out"
    assert plan.notes == (f"{what}: they are this machine's, and a container shares it",)


def test_a_machine_with_a_kernel_of_its_own_gets_all():
    plan = planner.plan(target("qemu"), Observed(), frozenset())
    assert {"sysctl vm.swappiness", "module br_netfilter"} <= names(plan)
    assert {"filesystem data", "swap /swapfile"} <= names(plan)
    assert plan.notes == ()


@pytest.mark.parametrize("system", [SYSTEM, {"files": SYSTEM["files"]}])
def test_nothing_is_said_where_nothing_is_to_do(system):
    wanted = target("docker", system)
    plan = planner.plan(wanted, planner.desired(wanted), frozenset())
    assert not plan
    assert plan.notes == ()
