"""What stands between a host and a cluster of Proxmox VE: pure, so as data."""

from pathlib import Path

import pytest
import yaml

from lab.layer import Target
from lab.model.host import Host
from lab.model.outcome import Level
from lab.model.proxmox import Proxmox
from lab.model.secret import SecretName
from layers.l0_runway import LAYER, planner
from layers.l0_runway.clearance import carries
from layers.l0_runway.cluster import Bridge, Card, Cluster, Needs
from layers.l0_runway.rights import needed
from layers.l0_runway.spec import Document, Inputs, Observed, Spec

CASES = yaml.safe_load(Path(__file__).with_name("clearance.yaml").read_text())
HOST = Host(name="web1", persona="web", provider="pve")
GIB = 1 << 30
SECTION = {
    "kind": "proxmox",
    "url": "https://pve.lan:8006",
    "token": SecretName("pve"),
    "node": "pve1",
    "storage": "local-zfs",
}
PROVIDER = Proxmox.model_validate(SECTION, context={"reader": None})
MACHINE = {"cpu": 2, "memory": "1GiB", "disks": {"root": {"size": "8GiB"}}}


def needs_of(case):
    more = dict(case.get("needs", {}))
    update = {"isolated": more.pop("isolated", False), **case.get("provider", {})}
    base = Needs.of(PROVIDER.model_copy(update=update), MACHINE, {"base": "debian-13"})
    return Needs.model_validate({**dict(base), **more})


def seen(case):
    needs = needs_of(case)
    target = Target(HOST, Spec(emulator=False, cluster=needs), Inputs())
    willing = planner.desired(target).cluster
    values = {**dict(willing), "who": "lab@pve!strata", **case.get("seen", {})}
    return target, Observed(needs=target.spec, cluster=Cluster.model_validate(values))


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_findings(case):
    target, observed = seen(case)
    found = planner.findings(observed)

    def of(level):
        return [f"{f.what}: {f.detail}" for f in found if f.level is level]

    assert of(Level.FAIL) == case.get("fails", [])
    assert of(Level.WARN) == case.get("warns", [])
    assert case.get("hint", "") in found[0].hint
    assert all(f.hint for f in found if f.level is Level.FAIL)
    plan = planner.plan(target, observed, frozenset())
    assert len(plan.blockers) == len(case.get("fails", []))
    assert not plan.changes


def test_a_host_of_proxmox_is_looked_at_here_and_there():
    document = Document.model_validate(
        {"provider": SECTION, "machine": MACHINE, "image": {"base": "debian-13"}}
    )
    local, cluster = LAYER.parts(document)
    assert (local.driver, local.spec.emulator, local.spec.builds) == ("local", False, "debian-13")
    assert local.spec.tofu
    assert (cluster.driver, cluster.name) == ("proxmox", "cluster")
    assert cluster.spec.cluster == needs_of({})


@pytest.mark.parametrize(
    ("machine", "image", "expected"),
    [
        (None, {"base": "debian-13"}, {"machine": "", "image": "debian-13"}),
        (MACHINE, None, {"machine": "vm", "image": "", "memory": GIB, "disks": 8 * GIB, "cpu": 2}),
        (
            {**MACHINE, "network": {"bridge": "vmbr2", "vlan": 7}, "pool": "lab"},
            {"base": {"url": "https://x/y.qcow2"}},
            {"card": Card(bridge="vmbr2", vlan=7), "pool": "lab", "downloads": True},
        ),
        (
            {**MACHINE, "kind": "lxc", "template": "nas:vztmpl/d.tar.zst"},
            {"base": "debian-13"},
            {"machine": "lxc", "vztmpl": "nas", "image": ""},
        ),
        ({"cpu": "two", "memory": 7, "network": [], "disks": []}, 3, {"cpu": 1, "memory": 0}),
    ],
)
def test_needs_are_read_leniently(machine, image, expected):
    needs = Needs.of(PROVIDER, machine, image)
    assert {name: getattr(needs, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("vids", "vlan", "expected"),
    [("2-4094", 1, False), ("2-4094", 2, True), ("5 7,9-11", 10, True), ("5 7", 6, False)],
)
def test_which_vlans_a_bridge_carries(vids, vlan, expected):
    assert carries(Bridge(vids=vids), vlan) is expected


def test_privileges_follow_from_what_is_declared():
    def paths(**changes):
        needs = Needs.model_validate({**dict(needs_of({})), **changes})
        return {r.path: r.privileges for r in needed(needs, "9.1.5")}

    usual = paths()
    assert set(usual) == {
        "/nodes/pve1",
        "/sdn/zones/localnetwork/vmbr0",
        "/storage/local",
        "/storage/local-zfs",
        "/vms",
    }
    assert "VM.GuestAgent.Audit" in usual["/vms"]
    tagged = paths(card={"bridge": "vmbr0", "vlan": 20})
    assert "/sdn/zones/localnetwork/vmbr0/20" in tagged
    assert "/sdn/zones/localnetwork/vmbr0" not in tagged
    pooled = paths(pool="lab", provider=PROVIDER.model_copy(update={"pool": "lab"}))
    assert "/vms" not in pooled
    assert "Pool.Audit" in pooled["/pool/lab"]
    assert "Sys.AccessNetwork" in paths(image="https://x/y.qcow2")["/nodes/pve1"]
    only_template = paths(machine="", image="debian-13")
    assert "VM.Clone" not in only_template["/vms"]
    assert "/sdn/zones/localnetwork/vmbr0" not in only_template
    twin = paths(provider=PROVIDER.model_copy(update={"isolated": True}))
    assert twin["/"] == {"Sys.Audit"}, "the cluster's firewall is shown to nobody else"
    assert "/" not in usual
    eight = {r.path: r.privileges for r in needed(needs_of({}), "8.4.1")}
    assert "VM.Monitor" in eight["/vms"]
    assert "VM.GuestAgent.Audit" not in eight["/vms"]


def test_the_ledger_gives_the_needs_back():
    spec = Spec(emulator=False, cluster=needs_of({}))
    again = Spec.model_validate_json(spec.model_dump_json(), context={"secrets": None})
    assert again == spec
    assert isinstance(again.cluster.provider, Proxmox)
