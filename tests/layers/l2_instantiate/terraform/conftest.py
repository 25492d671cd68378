"""One host's machine on the stand-in: observed and changed as the engine would, by the driver."""

import os

import pytest

from lab import folders
from lab.clients.proxmox import apis
from lab.layer import Target
from lab.model.host import Host
from lab.model.secret import NoSecrets, Secret
from layers.l2_instantiate import planner
from layers.l2_instantiate.drivers.terraform import TerraformDriver
from layers.l2_instantiate.spec import Document, Inputs
from tests.peers import PEERS, needs_tofu
from tests.standins import tofu
from tests.standins.doors import LOCAL, Doors
from tests.standins.proxmox import GIB, ProxmoxStandIn

TEMPLATE, TEMPLATE_NAME = 9001, "debian-13-aaaa"
MACHINE = {
    "cpu": 2,
    "memory": "1GiB",
    "disks": {"root": {"size": "6GiB"}, "data": {"size": "1GiB", "durable": True}},
}


class Known(NoSecrets):
    """One secret, at hand."""

    def __init__(self, value):
        self.value = value

    def reveal(self, name):
        return self.value

    def problem(self, name):
        return None


class OnPve:
    """One host, converged change by change; the second plan must be empty."""

    def __init__(self, workspace, standin, doors, name="web1", number=1):
        self.workspace, self.standin, self.doors = workspace, standin, doors
        self.driver = TerraformDriver(workspace)
        self.name, self.address = name, f"{LOCAL}.77.{number}/8"
        doors.addresses[name] = self.address.split("/")[0]
        self.machine = {**MACHINE}
        self.provider = {
            "kind": "proxmox",
            "url": standin.url,
            "fingerprint": standin.fingerprint,
            "token": Secret("pve", Known(standin.token)),
            "node": standin.node,
            "storage": "local-lvm",
            "boot_deadline": "20s",
        }
        self.inputs = Inputs(template=str(TEMPLATE), template_name=TEMPLATE_NAME)
        self.said = []

    def again(self):
        """Another run: nothing is remembered but what is kept."""
        self.workspace.close()
        self.driver = TerraformDriver(self.workspace)

    @property
    def api(self):
        return self.workspace.resource(apis).at(self.target().spec.proxmox)

    def target(self, **flags):
        document = Document.model_validate({"provider": self.provider, "machine": self.machine})
        (part,) = planner.parts(document)
        host = Host(self.name, "web", "pve", address=self.address)
        assert planner.check(host, part) == ()
        report = lambda doing, *_: self.said.append(doing)  # noqa: E731
        return Target(host, part.spec, self.inputs, report=report, **flags)

    def observe(self, **flags):
        self.api.touched()
        return self.driver.observe(self.target(**flags))

    def plan(self, **flags):
        target = self.target(**flags)
        return planner.plan(target, self.observe(**flags), self.driver.replace_on)

    def converge(self, **flags):
        plan = self.plan(**flags)
        assert not plan.blockers, plan.blockers
        for change in plan.changes:
            self.driver.apply(self.target(**flags), change)
        again = self.plan(**{k: v for k, v in flags.items() if k != "renew"})
        assert not again, again
        return [f"{c.action} {c.what}" for c in plan.changes]

    def fields(self):
        return {f.field: (f.before, f.after) for c in self.plan().changes for f in c.fields}

    @property
    def guest(self):
        return self.standin.guest(self.observe().id)


@pytest.fixture
def doors(workspace):
    if os.geteuid() != 0:
        pytest.skip("an SSH server at port 22 of an address of its own needs root")
    return Doors(workspace.state)


@pytest.fixture
def standin(doors):
    with ProxmoxStandIn(on_start=doors.open, on_stop=doors.close) as made:
        made.add_template(TEMPLATE, TEMPLATE_NAME, storage="local-lvm", size=2 * GIB)
        yield made


@pytest.fixture
def peers(monkeypatch):
    """The real tofu and the real provider."""
    needs_tofu()
    monkeypatch.setattr(folders, "cache", lambda: PEERS.parents[1])


@pytest.fixture
def scripted(monkeypatch, tmp_path):
    """A tofu that is a small program of these tests."""
    folder = tofu.install(tmp_path / "bin").parent
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.fixture
def within(monkeypatch):
    """The same program within this process, and logins that work at once: for sweeps."""
    from lab.clients.proxmox import api
    from layers.l2_instantiate import login, network
    from layers.l2_instantiate.drivers.terraform import program, stream
    from tests.standins.tofu import program as scripted

    def call(tool, command, *, cancelled, tell, output=None):
        said = []
        monkeypatch.setattr(scripted.Here, "folder", command.folder)
        monkeypatch.setattr(scripted.Here, "env", command.env)
        monkeypatch.setattr(scripted.Here, "write", said.append)
        status = scripted.main(list(command.words))
        heard = stream.Stream(tell)
        for text in said:
            (heard.take if output is None else output.append)(text)
        if status not in command.accepted:
            raise program._failure(tool, command, status, heard)
        return status

    monkeypatch.setattr(program, "call", call)
    monkeypatch.setattr(program, "find", lambda: program.Program("tofu", "tofu", (1, 10)))
    monkeypatch.setattr(network, "speaks_ssh", lambda *_, **__: True)
    monkeypatch.setattr(login, "refusal", lambda *_: "")
    monkeypatch.setattr(api, "_WAITS", (0.01, 0.02, 0.03))


@pytest.fixture
def quiet_pve(workspace, within):
    """A host whose machines answer nobody."""
    with ProxmoxStandIn(task_seconds=0.0) as made:
        made.add_template(TEMPLATE, TEMPLATE_NAME, storage="local-lvm", size=2 * GIB)
        yield OnPve(workspace, made, Doors(workspace.state))


@pytest.fixture
def on_pve(workspace, standin, doors, scripted):
    return OnPve(workspace, standin, doors)


@pytest.fixture
def really_on_pve(workspace, standin, doors, peers):
    return OnPve(workspace, standin, doors)
