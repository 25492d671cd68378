"""Templates on Proxmox VE, against the stand-in: made once, whatever goes wrong on the way."""

import contextlib
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab.errors import DriverError, LabError
from lab.layer import Target, Workspace
from lab.model.baseline import Baseline
from lab.model.host import Host
from lab.model.plan import Action
from lab.model.proxmox import Proxmox
from lab.model.secret import SecretName
from layers.l1_image import planner
from layers.l1_image.drivers.proxmox_template import making
from layers.l1_image.drivers.proxmox_template.driver import ProxmoxTemplateDriver
from layers.l1_image.spec import Document, Inputs
from tests.standins.proxmox import How, ProxmoxStandIn

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not there")
HOST = Host(name="web1", persona="web", provider="pve")
TEMPLATE = "nodes/pve1/qemu/*/template"


class Vault:
    def __init__(self, token):
        self.token = token

    def reveal(self, name):
        return self.token


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A small disk in the place of a real one."""
    path = tmp_path_factory.mktemp("disk") / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], check=True)
    return path


@pytest.fixture
def pve():
    with ProxmoxStandIn(task_seconds=0.001) as standin:
        yield standin


@dataclass
class Bench:
    pve: ProxmoxStandIn
    workspace: Workspace
    built: list

    def target(self, image=None, **provider):
        section = {
            "kind": "proxmox",
            "url": self.pve.url,
            "fingerprint": self.pve.fingerprint,
            "token": SecretName("pve"),
            "node": "pve1",
            "storage": "local-lvm",
            **provider,
        }
        document = Document.model_validate(
            {"provider": section, "image": image or {"base": "debian-13"}},
            context={"reader": None, "secrets": Vault(self.pve.token)},
        )
        (part,) = planner.parts(document)
        assert part.driver == "proxmox_template"
        return Target(HOST, part.spec, Inputs())

    def again(self):
        """As a run that comes later: nothing is remembered but what was written down."""
        self.workspace.close()
        self.workspace = replace(self.workspace, _resources={})
        return ProxmoxTemplateDriver(self.workspace)

    def plan(self, driver, target):
        return planner.plan(target, driver.observe(target), driver.replace_on)

    def converge(self, target, driver=None):
        driver = driver or self.again()
        for change in self.plan(driver, target).changes:
            driver.apply(target, change)
        return driver.observe(target)

    def prune(self, target):
        driver = self.again()
        driver.observe(target)
        for change in driver.unused(frozenset({planner.key(target.spec)})):
            assert change.what.startswith("image local:import/")
            driver.prune(change)
        assert driver.unused(frozenset({planner.key(target.spec)})) == ()

    @property
    def templates(self):
        return {v: g for v, g in self.pve.world.guests.items() if g.config.get("template") == "1"}


@pytest.fixture
def bench(pve, tmp_path, monkeypatch, disk):
    folders = {name: tmp_path / name for name in ("root", "state", "cache", "runtime")}
    for folder in folders.values():
        folder.mkdir()
    made = Bench(pve, Workspace(lab="t", **folders), [])

    def build(self):
        made.built.append(self.name)
        shutil.copyfile(disk, self.folder / "disk.qcow2")
        return Baseline(complete=True, distribution="debian", release="13")

    monkeypatch.setattr(making.Making, "_build", build)
    monkeypatch.setattr(making, "_SETTLE", 0.001)
    monkeypatch.setattr("lab.clients.proxmox.api._WAITS", (0.001, 0.001, 0.001))
    monkeypatch.setattr("lab.clients.proxmox.tasks._QUICK", 0.002)
    yield made
    made.workspace.close()


def only(bench):
    """The one template that there must be, and nothing left over."""
    assert len(bench.templates) == 1, bench.pve.world.guests
    assert len(bench.pve.world.guests) == 1
    ((vmid, guest),) = bench.templates.items()
    images = [v for v in bench.pve.world.volumes if v.content == "import"]
    assert images == []
    assert len([v for v in bench.pve.world.volumes if v.owner == vmid]) == 2
    return vmid, guest


def test_a_template_is_made_once_and_says_whose_it_is(bench):
    target = bench.target(pool=None)
    driver = bench.again()
    first = bench.plan(driver, target)
    assert [c.action for c in first.changes] == [Action.CREATE]
    assert planner.predict(target, driver.observe(target), first).outputs.template is None
    observed = bench.converge(target, driver)
    vmid, guest = only(bench)
    assert (observed.path, observed.present) == (str(vmid), True)
    assert observed.baseline.complete
    assert guest.config["name"] == target.spec.name
    assert set(guest.config["tags"].split(";")) == {"strata", "strata_template"}
    assert "base-" in guest.config["scsi0"]
    assert vmid in range(9000, 10000)
    calls = len(bench.pve.faults.calls)
    again = bench.again()
    assert not bench.plan(again, target)
    made = {c.method for c in bench.pve.faults.calls[calls:]}
    assert made == {"GET"}
    assert len(bench.pve.faults.calls) - calls <= 4
    outputs = planner.outputs(target, again.observe(target))
    assert (outputs.template, outputs.template_name) == (str(vmid), target.spec.name)
    assert bench.built == [target.spec.name]


def steps(bench):
    """How many calls a whole making takes, by method and path in order."""
    bench.converge(bench.target())
    return [c.method for c in bench.pve.faults.calls]


@pytest.mark.parametrize("how", [How.ANSWER, How.RESET, How.DROP_REPLY, How.LATE_ANSWER])
def test_one_failure_at_each_call_leaves_no_twin_and_the_next_run_ends_it(
    bench, how, tmp_path, disk
):
    """F24 and F26: each call of a whole making fails once; the same command again finishes it.

    Reads are alike however they fail; changes are tried in every way.
    """
    tried, calls = 0, steps(bench)
    indices = [n for n, c in enumerate(calls, 1) if how is How.ANSWER or c != "GET"]
    assert len(indices) >= 5
    for index in indices:
        wipe(bench)
        bench.pve.faults.forget()
        bench.pve.fail(how=how, at=index, status=596, reason="Connection timed out")
        target = bench.target()
        with contextlib.suppress(LabError):
            bench.converge(target)
        tried += bool(bench.pve.faults.happened)
        bench.pve.faults.clear()
        observed = bench.converge(target)
        assert observed.present, (index, observed)
        if any(v.content == "import" for v in bench.pve.world.volumes):
            bench.prune(target)
        only(bench)
    assert tried == len(indices)


def wipe(bench):
    """A node and a state folder as they were before anything was made."""
    world = bench.pve.world
    world.tasks.settle()
    for volume in list(world.volumes):
        if volume.content in {"import", "images"}:
            world.volumes.drop(volume)
    world.guests.clear()
    shutil.rmtree(bench.workspace.state / "templates", ignore_errors=True)


@pytest.mark.parametrize("kind", ["imgcopy", "qmcreate", "qmtemplate", "imgdel"])
@pytest.mark.parametrize("what", ["fail", "vanish"])
def test_a_task_that_goes_wrong_is_told_and_made_good(bench, kind, what):
    bench.pve.fail_task(kind, what, "the disk is on fire")
    target = bench.target()
    told = pytest.raises(DriverError, match="the disk is on fire")
    with told if what == "fail" and kind != "imgdel" else contextlib.nullcontext():
        bench.converge(target)
    assert bench.converge(target).present
    bench.prune(target)
    only(bench)


@pytest.mark.parametrize(
    "where",
    ["after_send", "before_create", "after_create", "after_convert"],
)
def test_a_run_that_was_killed_is_gone_on_with(bench, where, monkeypatch):
    class Killed(BaseException):
        pass

    def die(name):
        if name == f"l1.proxmox.{where}":
            raise Killed

    target = bench.target()
    with monkeypatch.context() as patch:
        patch.setattr(making, "point", die)
        with pytest.raises(Killed):
            bench.converge(target)
    half = bench.again().observe(target)
    assert not half.present
    assert bool(half.damaged) == (where in {"after_create", "after_convert"})
    assert bench.converge(target).present
    only(bench)
    sent_before = where != "after_send"
    assert len(bench.built) == (1 if sent_before else 2)


def test_a_foreign_machine_of_that_name_or_vmid_is_left_alone(bench):
    target = bench.target()
    bench.pve.add_vm(9000, "mine", tags="strata;strata_template", description="my own")
    bench.pve.add_vm(9001, target.spec.name)
    before = {v: dict(g.config) for v, g in bench.pve.world.guests.items()}
    observed = bench.converge(target)
    assert observed.path == "9002"
    for vmid, config in before.items():
        assert bench.pve.guest(vmid).config == config
    assert bench.again().unused(frozenset()) == ()


def test_a_clone_that_somebody_made_is_theirs_whatever_its_description_says(bench):
    target = bench.target()
    vmid, ours = int(bench.converge(target).path), dict(bench.pve.guest(9000).config)
    bench.pve.add_vm(104, "mine", tags=ours["tags"], description=ours["description"])
    theirs = dict(bench.pve.guest(104).config)
    driver = bench.again()
    assert driver.observe(target).path == str(vmid)
    for change in driver.unused(frozenset()):
        driver.prune(change)
    assert set(bench.pve.world.guests) == {104}
    assert not bench.again().observe(target).damaged
    assert bench.converge(target).path == str(vmid)
    assert bench.pve.guest(104).config == theirs


def test_an_id_that_somebody_took_meanwhile_is_passed_over(bench):
    target = bench.target()
    bench.pve.fail(
        method="POST",
        path="*/qemu",
        reason="unable to create VM 9000 - VM 9000 already exists on node 'pve1'",
    )
    assert bench.converge(target).path == "9001"
    only(bench)


def test_what_cannot_be_seen_is_not_absent(bench):
    bench.converge(bench.target())
    bench.pve.token = bench.pve.add_token("lab@pve", "strata")
    with pytest.raises(DriverError, match=r"lacks VM\.Audit on /vms"):
        bench.again().observe(bench.target())


def test_unused_ones_go_and_those_with_clones_stay(bench):
    old, new = bench.target(), bench.target({"base": "debian-13", "packages": ["curl"]})
    bench.converge(old)
    driver = bench.again()
    bench.converge(new, driver)
    keep = frozenset({planner.key(new.spec)})
    driver.observe(old)
    (change,) = driver.unused(keep)
    assert (change.action, change.reason) == (Action.DELETE, "no host uses it")
    assert old.spec.name in change.what
    api = bench.workspace.resource(making_apis()).at(old.spec.proxmox)
    api.post("nodes/pve1/qemu/9000/clone", doing="clone", newid=5000, name="web1", full=False)
    bench.pve.settle()
    bench.pve.edit(5000, tags="strata;strata-web1")
    api.touched()
    assert driver.unused(keep) == ()
    assert len(driver.unused(keep, frozenset({"web1"}))) == 1
    driver.prune(change)
    assert 9000 in bench.templates, "a clone lies on it"
    del bench.pve.world.guests[5000]
    for volume in [v for v in bench.pve.world.volumes if v.owner == 5000]:
        bench.pve.world.volumes.drop(volume)
    driver.prune(change)
    assert set(bench.templates) == {9001}
    assert [t.name for t in driver.templates()] == [new.spec.name]
    (told,) = bench.again().templates()
    assert (told.name, told.baseline.complete, told.damaged) == (new.spec.name, True, "")


def making_apis():
    from lab.clients.proxmox import apis

    return apis


def test_the_node_downloads_an_image_and_checks_it(bench, disk):
    import hashlib
    import http.server
    import threading
    from functools import partial

    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(disk.parent))
    handler.func.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/disk.qcow2"
        right = hashlib.sha256(disk.read_bytes()).hexdigest()
        wrong = bench.target({"base": {"url": url, "checksum": f"sha256:{'0' * 64}"}})
        with pytest.raises(DriverError, match="checksum mismatch"):
            bench.converge(wrong)
        assert bench.pve.world.guests == {}
        good = bench.target({"base": {"url": url, "checksum": f"sha256:{right}"}})
        observed = bench.converge(good)
        server.shutdown()
        thread.join()
    assert observed.present
    assert not observed.baseline.complete
    assert bench.built == []
    only(bench)


def test_an_image_that_only_this_machine_has_is_sent(bench, tmp_path, disk):
    import hashlib

    file = tmp_path / "cloud.img"
    shutil.copyfile(disk, file)
    checksum = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    target = bench.target({"base": {"url": str(file), "checksum": checksum}})
    assert bench.converge(target).present
    assert bench.built == [target.spec.name]


def test_a_template_of_another_lab_or_storage_is_not_taken_for_ours(bench):
    target = bench.target()
    bench.converge(target)
    bench.workspace = replace(bench.workspace, lab="other")
    assert not bench.again().observe(target).present
    bench.workspace = replace(bench.workspace, lab="t")
    assert not bench.again().observe(bench.target(storage="local")).present
    assert planner.key(target.spec) != planner.key(bench.target(storage="local").spec)


def test_a_twin_borrows_its_labs_template_and_leaves_it_alone(bench):
    """Found by the lender's mark; where there is none, or half of one, the lender is to make it."""
    lender = bench.workspace
    target = bench.target()
    bench.workspace = replace(lender, lab="drill-x", state=lender.state.with_name("x"))
    bench.workspace = replace(bench.workspace, lender=lender.state.with_name("t"), _resources={})
    lender.state.rename(lender.state.with_name("t"))
    lender = replace(lender, state=lender.state.with_name("t"), _resources={})
    (blocker,) = bench.plan(bench.again(), target).blockers
    assert "a drill makes none" in blocker.why
    assert blocker.hint == "lab converge l1 host=web1"
    twin, bench.workspace = bench.workspace, lender
    made = bench.converge(target)
    (vmid,) = bench.templates
    before = dict(bench.pve.guest(vmid).config)
    bench.workspace = twin
    driver = bench.again()
    seen = driver.observe(target)
    assert (seen.path, seen.present, seen.baseline) == (str(vmid), True, made.baseline)
    assert not bench.plan(driver, target)
    assert driver.unused(frozenset()) == ()
    with pytest.raises(DriverError, match="a twin makes none"):
        driver.apply(target, None)
    assert bench.pve.guest(vmid).config == before
    half = before["description"].replace('"ready": true', '"ready": false')
    bench.pve.edit(vmid, description=half)
    (blocker,) = bench.plan(bench.again(), target).blockers
    assert "a drill makes none" in blocker.why
    assert list(bench.templates) == [vmid]


def test_the_model_of_the_cluster_is_in_the_spec(bench):
    spec = bench.target().spec
    assert isinstance(spec.proxmox, Proxmox)
    assert "(secret pve)" in spec.model_dump_json()
    assert isinstance(bench.workspace.state, Path)
