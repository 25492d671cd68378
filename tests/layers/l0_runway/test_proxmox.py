"""L0 against the stand-in: what docs/proxmox.md gives is just enough, and each lack is named."""

import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import TransportError
from lab.layer import Target, Workspace
from lab.model.host import Host
from lab.model.outcome import Level
from lab.model.secret import SecretName
from layers.l0_runway import LAYER, planner, rights
from layers.l0_runway.cluster import Needs
from layers.l0_runway.spec import Document, Inputs
from tests.standins.proxmox import ProxmoxStandIn

GUIDE = Path(__file__).resolve().parents[3] / "docs/proxmox.md"
MACHINE = {"cpu": 1, "memory": "1GiB", "disks": {"root": {"size": "8GiB"}}}


class Vault:
    def __init__(self, token):
        self.token = token

    def reveal(self, name):
        return self.token


@pytest.fixture(scope="module")
def _server():
    with ProxmoxStandIn(task_seconds=0.001) as standin:
        standin.add_storage("local-zfs", "zfspool", content={"images", "rootdir"})
        yield standin


@pytest.fixture
def pve(_server):
    """The node of the guide, as its lines leave it."""
    _server.faults.clear()
    _server.world.guests.clear()
    obey(_server)
    return _server


def guide():
    """The lines of the guide that root types."""
    return re.search(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1].splitlines()


def obey(pve):
    """Do to the stand-in what the guide's lines do to a node."""
    access = pve.world.access
    access.users.pop("strata@pve", None)
    access.grants = [g for g in access.grants if g.whom == "root@pam"]
    for line in guide():
        if found := re.match(r'pveum role add (\S+) --privs "(.*)"', line):
            access.roles[found[1]] = frozenset(found[2].split())
        elif found := re.match(r"pveum acl modify (\S+) --users (\S+) --roles (\S+)", line):
            access.grant(found[1], found[2], found[3])
        elif found := re.match(r"pveum user token add (\S+) (\S+) --privsep 0", line):
            pve.token = access.add_token(found[1], found[2], separated=False)


@pytest.fixture
def workspace(tmp_path):
    made = Workspace(
        lab="t",
        root=tmp_path,
        state=tmp_path / "state",
        cache=tmp_path / "cache",
        runtime=tmp_path / "run",
    )
    yield made
    made.close()


def document(pve, machine=MACHINE, image="debian-13", **provider):
    section = {
        "kind": "proxmox",
        "url": pve.url,
        "fingerprint": pve.fingerprint,
        "token": SecretName("pve"),
        "node": "pve1",
        "storage": "local-zfs",
        **provider,
    }
    return Document.model_validate(
        {"provider": section, "machine": machine, "image": image and {"base": image}},
        context={"reader": None, "secrets": Vault(pve.token)},
    )


def look(workspace, pve, host="web1", **words):
    (_, part) = planner.parts(document(pve, **words))
    target = Target(Host(name=host, persona="p", provider="pve"), part.spec, Inputs(), part.name)
    return planner.findings(LAYER.drivers["proxmox"](workspace).observe(target))


def fails(findings):
    return [f"{f.what}: {f.detail}" for f in findings if f.level is Level.FAIL]


def test_the_guide_gives_exactly_what_the_table_says(pve):
    (_, part) = planner.parts(document(pve))
    wanted = {r.path: r.privileges for r in rights.needed(part.spec.cluster, "9.1.5")}
    roles = pve.world.access.roles
    given = {g.path: roles[g.role] for g in pve.world.access.grants if g.whom == "strata@pve"}
    assert given == wanted


def test_with_what_the_guide_gives_the_runway_is_clear(workspace, pve):
    found = look(workspace, pve)
    assert [f for f in found if f.level is not Level.PASS] == []
    told = {f.what: f.detail for f in found}
    assert told["proxmox version"].startswith("version 9.")
    assert told["proxmox bridge vmbr0"] == "there"
    assert told["proxmox VMIDs for machines"] == "3000 of 5000-7999 are free"


def test_each_missing_privilege_is_named_by_its_path(workspace, pve):
    access = pve.world.access
    for grant in [g for g in access.grants if g.whom == "strata@pve"]:
        whole = access.roles[grant.role]
        for privilege in sorted(whole):
            access.roles[grant.role] = whole - {privilege}
            workspace = replace(workspace, _resources={})
            found = look(workspace, pve)
            workspace.close()
            named = f"proxmox privileges on {grant.path}: strata@pve!lab lacks {privilege}"
            assert fails(found) == [named]
            assert f"--append 1 --privs '{privilege}'" in found[0].hint
        access.roles[grant.role] = whole


def test_a_powerless_token_is_told_from_an_empty_cluster(workspace, pve):
    pve.token = pve.world.access.add_token("nobody@pve", "none")
    found = look(workspace, pve)
    assert len(fails(found)) == 1
    assert "valid and may do nothing" in fails(found)[0]


def test_a_wrong_token_certificate_and_address_are_told(workspace, pve):
    right = pve.token
    pve.token = right.rsplit("=", 1)[0] + "=00000000-0000-0000-0000-000000000000"
    (told,) = fails(look(workspace, pve))
    assert "Authentication failed" in told or "no such" in told
    pve.token = right
    (told,) = fails(look(workspace, pve, fingerprint=":".join(["00"] * 32)))
    assert "has the fingerprint" in told
    pve.token = "abc"
    (told,) = fails(look(replace(workspace, _resources={}), pve))
    assert "does not hold a token" in told
    pve.token = right
    with pytest.raises(TransportError):
        look(workspace, pve, url="https://127.0.0.1:1")
    (_, part) = planner.parts(document(pve, url="https://127.0.0.1:1"))
    (finding,) = LAYER.findings(workspace, Host("web1", "p", "pve"), part)
    assert finding.level is Level.FAIL, "the doctor tells it like any other finding"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"node": "pve9"}, "proxmox node pve9: there is no such node (there are: pve1)"),
        ({"storage": "nas"}, "proxmox storage nas: pve1 has no such storage"),
        ({"bridge": "vmbr7"}, "proxmox bridge vmbr7: pve1 has no such bridge"),
        ({"template_storage": "local-zfs"}, "it takes no content of the kind import"),
        ({"machine": {**MACHINE, "cpu": 200}}, "200 processors are declared"),
        ({"machine": {**MACHINE, "memory": "900GiB"}}, "900GiB are declared"),
    ],
)
def test_what_is_not_there_is_told(workspace, pve, words, told):
    pve.token = pve.world.access.add_token("root@pam", "all", separated=False)
    assert any(told in line for line in fails(look(workspace, pve, **words)))


def test_machines_and_templates_are_told_apart_by_their_tags(workspace, pve):
    pve.token = pve.world.access.add_token("root@pam", "all", separated=False)
    pve.add_vm(5000, "web1", storage="local-zfs", tags="strata;strata-web1")
    pve.add_vm(104, "db1", storage="local-zfs")
    pve.add_template(9000, "debian-13-0123456789ab", storage="local-zfs")
    pve.edit(9000, tags="strata;strata_template")
    told = {f.what: f.detail for f in look(workspace, pve)}
    assert told["proxmox templates"] == "there: debian-13-0123456789ab"
    assert "proxmox VMIDs for machines" not in told
    told = {f.what: f.detail for f in look(workspace, pve, host="db1")}
    assert told["proxmox names"].startswith("VM 104 has the name of this host")
    assert told["proxmox VMIDs for machines"] == "2999 of 5000-7999 are free"


def test_two_hundred_hosts_are_looked_at_with_the_calls_of_one(workspace, pve):
    before = len(pve.faults.calls)
    look(workspace, pve)
    one = len(pve.faults.calls) - before
    threads = [threading.Thread(target=look, args=(workspace, pve, f"h{n}")) for n in range(1, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one <= 8
    assert len(pve.faults.calls) - before == one
    assert {c.method for c in pve.faults.calls[before:]} == {"GET"}


def host_with(pve, name, **words):
    parts = planner.parts(document(pve, **words))
    return Host(name=name, persona="p", provider="pve", parts={"l0_runway": parts})


def beside(workspace, pve, *names, **words):
    """What is found of the first, where all of them are to be made by one run."""
    hosts = tuple(host_with(pve, name, **words) for name in names)
    first = hosts[0]
    part = first.parts["l0_runway"][1]
    return LAYER.findings(replace(workspace, _resources={}), first, part, hosts)


def test_two_hosts_that_fit_alone_and_not_together_are_told(workspace, pve):
    """Memory, room and VMIDs: 16 GiB, two numbers, 4 GiB of a storage."""
    pve.token = pve.world.access.add_token("root@pam", "all", separated=False)
    pve.add_storage("small", "lvmthin", content={"images"}, total=4 << 30, base_used=0)
    words = {"storage": "small", "vmids": {"machines": "5000-5001"}}
    words["machine"] = {"memory": "9GiB", "disks": {"root": {"size": "3GiB"}}}
    words["image"] = None
    assert fails(beside(workspace, pve, "web1", **words)) == []
    assert fails(beside(workspace, pve, "web1", "db1", **words)) == [
        "proxmox memory: 18GiB are declared together with db1, and pve1 has 16GiB in all"
    ]
    told = fails(beside(workspace, pve, "web1", "db1", "db2", "db3", "db4", **words))
    assert told[0].startswith("proxmox storage small: 5GiB are needed now together with db1, db2")
    assert told[1].startswith("proxmox VMIDs for machines: 5 are needed together with")
    # One that is there already has its room, its number and its memory.
    pve.add_vm(5000, "db1", storage="local-zfs", tags="strata;strata-db1")
    assert fails(beside(workspace, pve, "web1", "db1", **words)) == []


def test_the_template_of_several_hosts_is_weighed_once(workspace, pve):
    pve.token = pve.world.access.add_token("root@pam", "all", separated=False)
    pve.add_storage("small", "lvmthin", content={"images"}, total=5 << 30, base_used=0)
    words = {"storage": "small"}
    assert fails(beside(workspace, pve, "a", "b", "c", **words)) == []
    told = fails(beside(workspace, pve, "a", "b", "c", "d", **words))
    assert told == ["proxmox storage small: 6GiB are needed now together with b, c, d, 5GiB free"]


def test_what_a_drill_needs_is_looked_at_too(workspace, pve):
    from tests.standins.proxmox.firewall import CLUSTER, Written

    told = fails(look(workspace, pve, isolated=True))
    assert told == ["proxmox privileges on /: strata@pve!lab lacks Sys.Audit"]
    pve.world.access.grant("/", "strata@pve", "StrataNode", propagate=False)
    told = fails(look(replace(workspace, _resources={}), pve, isolated=True))
    assert told == ["proxmox firewall: off: nothing would close off the twin"]
    pve.world.firewalls.write(CLUSTER, Written({"enable": "1"}))
    pve.world.firewalls.write("pve1", Written({"enable": "0"}))
    told = fails(look(replace(workspace, _resources={}), pve, isolated=True))
    assert told == ["proxmox firewall of pve1: off: nothing would close off the twin"]
    pve.world.firewalls.write("pve1", Written())
    assert fails(look(replace(workspace, _resources={}), pve, isolated=True)) == []


def test_the_needs_are_in_the_part(pve):
    (local, cluster) = planner.parts(document(pve))
    assert local.spec.builds == "debian-13"
    assert isinstance(cluster.spec.cluster, Needs)


def with_backups(pve):
    """What the guide's row about captured boot disks adds."""
    row = next(line for line in GUIDE.read_text().splitlines() if "backup_storage: local`)" in line)
    role = re.search(r'pveum role add (\S+) --privs "(.*?)"', row)
    access = pve.world.access
    access.roles[role[1]] = frozenset(role[2].split())
    more = re.search(r"`(VM\.\S+)` in (\S+?),", row)
    access.roles[more[2]] |= {more[1]}
    assert "--roles StrataFiles,StrataBackups" in row
    access.grant("/storage/local", "strata@pve", role[1])


def test_what_captured_boot_disks_take_is_in_the_guide_and_no_more(workspace, pve):
    found = look(workspace, pve, backup_storage="local")
    assert fails(found) == [
        "proxmox privileges on /storage/local: strata@pve!lab lacks Datastore.AllocateSpace",
        "proxmox privileges on /vms: strata@pve!lab lacks VM.Backup",
    ]
    with_backups(pve)
    workspace = replace(workspace, _resources={})
    found = look(workspace, pve, backup_storage="local")
    assert [f for f in found if f.level is not Level.PASS] == []
    workspace.close()
    access = pve.world.access
    (_, part) = planner.parts(document(pve, backup_storage="local"))
    wanted = {r.path: r.privileges for r in rights.needed(part.spec.cluster, "9.1.5")}
    given = {}
    for grant in access.grants:
        if grant.whom == "strata@pve":
            given[grant.path] = given.get(grant.path, frozenset()) | access.roles[grant.role]
    assert given == wanted


def test_a_container_needs_nothing_for_boot_disks(pve):
    machine = {**MACHINE, "kind": "lxc", "template": "local:vztmpl/x.tar.zst"}
    (_, part) = planner.parts(document(pve, machine=machine, backup_storage="vault"))
    paths = {r.path for r in rights.needed(part.spec.cluster, "9.1.5")}
    assert "/storage/vault" not in paths
