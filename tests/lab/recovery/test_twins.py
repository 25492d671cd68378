"""What a twin is, and what nobody can make one of."""

import pytest
import yaml
from pydantic import BaseModel

from lab.cli.recovery import KINDS
from lab.config import inventory
from lab.errors import LabError, PlanError
from lab.model.host import Host, Part
from lab.model.proxmox import Drills, Proxmox
from lab.model.secret import NoSecrets
from lab.recovery import twinaddress, twins
from lab.recovery.twins import Sandbox, sandbox_for
from layers import LAYERS

WEB = Host("web1", "web", "box")


class Nothing(BaseModel):
    """The spec of a machine of which only the driver counts."""


@pytest.mark.parametrize(
    ("driver", "asked", "kind", "like"),
    [
        ("qemu", "", "qemu", "box"),
        ("docker", "", "docker", "box"),
        ("qemu", "docker", "docker", ""),
        ("docker", "qemu", "qemu", ""),
        ("terraform", "", "proxmox", "box"),
        ("terraform", "proxmox", "proxmox", "box"),
        ("terraform", "docker", "docker", ""),
        ("memory", "", "docker", ""),
    ],
)
def test_a_twin_is_of_its_hosts_own_kind_or_a_container(driver, asked, kind, like):
    assert sandbox_for(WEB, Part("", driver, Nothing()), asked) == Sandbox(kind, like)


def test_what_cannot_be_drilled_on_a_node_is_refused():
    with pytest.raises(PlanError, match="it is not a machine there"):
        sandbox_for(WEB, Part("", "qemu", Nothing()), "proxmox")


PVE = {
    "lab/lab.yaml": "name: home\nproviders:\n  pve: {kind: proxmox, url: 'https://pve.lan:8006', "
    "token: !secret t, node: pve1, storage: s1, backend: {s3: {key: '{host}'}}, "
    "drills: {addresses: 192.0.2.10-192.0.2.12}}\n",
    "lab/personas/web.yaml": "machine:\n  memory: 1GiB\n  disks: {root: {size: 8GiB}}\n"
    "  network: {vlan: 5, gateway: 192.0.2.254, dns: [192.0.2.254], mac: 'BC:24:11:00:00:01'}\n"
    "  tags: [backup]\n  start: {at_boot: true, order: 2}\n  protection: true\nsystem: none\n",
    "lab/personas/ct.yaml": "machine:\n  kind: lxc\n  memory: 1GiB\n  disks: {root: {size: 8GiB}}\n"
    "  template: local:vztmpl/d.tar.zst\nsystem: none\n",
    "lab/inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: pve, "
    "address: 192.0.2.11/24, protect: true}\n  ct1: {persona: ct, provider: pve}\n",
    "lab/secrets/t.yaml": "x: y\n",
}


class Given(NoSecrets):
    """Secrets that are there."""

    def problem(self, name):
        return None

    def reveal(self, name):
        return "a@b!cc=d"


def declared(root):
    return inventory.load(root, LAYERS, Given())


@pytest.mark.parametrize("address", ["192.0.2.12/24", ""])
def test_a_twin_on_a_node_is_closed_off_and_never_has_the_hosts_address(lab_dir, tmp_path, address):
    root = lab_dir(PVE) / "lab"
    twins.stage(root, tmp_path / "twin", "drill-x", "web1", Sandbox("proxmox", "pve", address))
    host = declared(tmp_path / "twin").hosts["web1"]
    (part,) = host.parts["l2_instantiate"]
    spec = part.spec
    assert (host.address, part.driver, spec.isolated) == (address or None, "terraform", True)
    assert spec.proxmox.backend is None, "the state of the host itself is not the twin's"
    machine = spec.machine
    network = machine.network
    assert (network.vlan, network.firewall, network.mac) == (5, True, None)
    assert (network.gateway, network.dns) == (
        ("192.0.2.254", ("192.0.2.254",)) if address else (None, ())
    )
    assert (machine.tags, machine.protection, machine.start.at_boot) == ((), False, False)


def test_a_container_of_a_node_is_drilled_here(lab_dir):
    host = declared(lab_dir(PVE) / "lab").hosts["ct1"]
    (part,) = host.parts["l2_instantiate"]
    assert sandbox_for(host, part) == Sandbox("docker")
    with pytest.raises(PlanError, match="nobody would know the host key"):
        sandbox_for(host, part, "proxmox")


class Addresses:
    """A provider's range, and who answers."""

    def __init__(self, monkeypatch, folder, **drills):
        self.folder, self.answering = folder, set()
        self.provider = Proxmox.model_construct(drills=Drills(**drills))
        monkeypatch.setattr(twinaddress, "_answers", lambda address: address in self.answering)

    def take(self, name="web1", address="192.0.2.11/24", hosts=()):
        host = Host(name, "web", "pve", address=address)
        return twinaddress.borrowed(self.provider, host, [host, *hosts], self.folder)


def test_an_address_is_borrowed_by_one_drill_at_a_time(monkeypatch, tmp_path):
    pool = Addresses(monkeypatch, tmp_path, addresses="192.0.2.10-192.0.2.14")
    db = Host("db1", "db", "pve", address="192.0.2.10/24")
    web = Host("web1", "web", "pve", address="192.0.2.11/24")
    pool.answering = {"192.0.2.12"}
    with pool.take(hosts=[db]) as first:
        assert first == "192.0.2.13/24", "10 and 11 are hosts', 12 answers"
        with pool.take("app1", "192.0.2.40/24", hosts=[db, web]) as second:
            assert second == "192.0.2.14/24"
    pool.answering = {f"192.0.2.{n}" for n in range(10, 15)}
    with pool.take(hosts=[db]) as again:
        assert again == "192.0.2.13/24", "its own twin, which a killed drill left, answers there"
    with (
        pytest.raises(PlanError, match=r"all of 192\.0\.2\.10-192\.0\.2\.14 are in use"),
        pool.take("new1", "192.0.2.41/24"),
    ):
        pass


@pytest.mark.parametrize(
    ("drills", "said", "hint"),
    [
        ({}, "must not have its address 192.0.2.11", "addresses: 192.0.2.200-192.0.2.209"),
        ({"addresses": "198.51.100.1-198.51.100.9"}, "in its network 192.0.2.0/24", "drills:"),
    ],
)
def test_without_an_address_for_it_a_twin_is_refused(monkeypatch, tmp_path, drills, said, hint):
    pool = Addresses(monkeypatch, tmp_path, **drills)
    with pytest.raises(PlanError, match=said) as caught, pool.take():
        pass
    assert hint in caught.value.hint


def test_dhcp_needs_no_address(monkeypatch, tmp_path):
    pool = Addresses(monkeypatch, tmp_path, addresses="dhcp")
    with pool.take() as static, pool.take(address=None) as dynamic:
        assert (static, dynamic) == ("", "")


def test_its_files_are_the_labs_but_for_name_place_and_ports(lab_dir, tmp_path):
    root = lab_dir(
        {
            "lab/lab.yaml": "name: home\nproviders:\n"
            "  box: {kind: qemu, boot_deadline: 9m, accelerator: tcg}\n  pve: {kind: docker}\n",
            "lab/personas/web.yaml": "purpose: x\n",
            "lab/inventory/hosts.yaml": "hosts:\n  db1: {persona: web, provider: pve}\n"
            "  web1: {persona: web, provider: box, after: [db1], protect: true,"
            " address: 192.0.2.1/24, machine: {ports: {80: 80}, memory: 2GiB}}\n",
        }
    )
    twins.stage(root / "lab", tmp_path / "twin", "drill-x", "web1", Sandbox("qemu", "box"))
    said = yaml.safe_load((tmp_path / "twin/lab.yaml").read_text())
    assert said["name"] == "drill-x"
    assert said["providers"][twins.PROVIDER] == {
        "kind": "qemu", "boot_deadline": "9m", "accelerator": "tcg", "isolated": True,
    }  # fmt: skip
    assert said["providers"]["box"] == {
        "kind": "qemu", "boot_deadline": "9m", "accelerator": "tcg",
    }, "the lab's own is as it was"  # fmt: skip
    text = (tmp_path / "twin/inventory/hosts.yaml").read_text()
    assert "!reset" in text
    hosts = yaml.safe_load(text.replace("!reset", ""))["hosts"]
    assert hosts["web1"].keys() == {"persona", "provider", "machine"}
    assert hosts["web1"]["provider"] == twins.PROVIDER
    with pytest.raises(LabError, match="no inventory file names it"):
        twins.stage(root / "lab", tmp_path / "other", "drill-x", "web9", Sandbox("docker"))


def test_a_machine_that_nobody_makes_has_no_twin(here):
    made = here()
    assert made.capture().exit_code == 0
    done = made.run("drill", "host=me")
    assert done.returncode == 5
    assert "no lab makes such a machine" in done.stdout + done.stderr
    assert "to=/srv/look" in done.stdout + done.stderr


def test_what_only_a_node_has_is_left_out_of_a_sandbox(lab_dir, tmp_path_factory):
    root = lab_dir(
        {
            "lab.yaml": "name: x\nproviders:\n  there: {kind: qemu}\n",
            "personas/p.yaml": "machine:\n  memory: 1GiB\n  network: {vlan: 5}\n  tags: [a]\n"
            "  start: {order: 2}\n  disks: {root: {size: 8GiB}}\nsystem: none\n",
            "inventory/hosts.yaml": "hosts:\n  a: {persona: p, provider: there, "
            "address: 192.0.2.1/24, machine: {protection: true, boot: [root]}}\n",
        }
    )
    twin = tmp_path_factory.mktemp("twin") / "lab"
    twins.stage(root, twin, "drill-x", "a", twins.Sandbox("docker"))
    (part,) = inventory.load(twin, LAYERS).hosts["a"].parts["l2_instantiate"]
    assert part.driver == "docker"
    machine = part.spec.machine
    assert (machine.network, machine.tags, machine.protection) == (None, (), False)


def test_the_command_line_offers_every_kind_of_sandbox():
    assert KINDS == twins.KINDS
