"""What a machine may say on Proxmox VE and nowhere else: told at its place where it cannot be."""

import pytest

from lab.config import inventory
from lab.errors import ConfigError
from layers import LAYERS

PROVIDERS = """
name: x
providers:
  pve: {kind: proxmox, url: "https://pve.lan:8006", token: !secret pve, node: pve1, storage: disks}
  box: {kind: qemu}
  sand: {kind: docker}
"""
LXC = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"


class Vault:
    def problem(self, name):
        return None

    def problems(self):
        return ()

    def fingerprint(self, name):
        return ""

    def reveal(self, name):
        return "root@pam!t1=secret"


def load(lab_dir, machine, *, provider="pve", host="address: 192.0.2.11/24"):
    files = {
        "lab.yaml": PROVIDERS,
        "personas/p.yaml": f"machine:\n  memory: 1GiB\n{machine}\nsystem: none\n",
        "inventory/hosts.yaml": f"hosts:\n  a:\n    persona: p\n    provider: {provider}\n"
        f"    {host}\n",
    }
    return inventory.load(lab_dir(files), LAYERS, Vault()).hosts["a"].parts["l2_instantiate"]


def told(lab_dir, machine, **how):
    with pytest.raises(ConfigError) as caught:
        load(lab_dir, machine, **how)
    return [str(p) for p in caught.value.problems]


DISKS = "  disks: {root: {size: 8GiB}}\n"


@pytest.mark.parametrize(
    ("machine", "where", "says"),
    [
        ("  disks: {root: {size: 8.5GiB}}", "p.yaml:3:18", "a whole number of GiB"),
        (
            DISKS + "  network: {gateway: 10.0.0.1}",
            "p.yaml:4:13",
            "not in the network 192.0.2.0/24",
        ),
        (DISKS + "  network: {gateway: 192.0.2.11}", "p.yaml:4:13", "the machine's own address"),
        (DISKS + "  network: {vlan: 5000}", "p.yaml:4:13", "4094"),
        (DISKS + "  network: {mac: 01:00:5E:00:00:01}", "p.yaml:4:13", "a group's address"),
        (DISKS + "  network: {dns: [nas]}", "p.yaml:4:19", "'nas' is not an address"),
        (DISKS + "  network: {bridges: x}", "p.yaml:4:13", "did you mean 'bridge'"),
        (DISKS + "  tags: [Two Words]", "p.yaml:4:3", "cannot be a tag"),
        (DISKS + "  boot: [data]", "p.yaml:1:1", "is no order to boot in"),
        (DISKS + "  start: {up: 30}", "p.yaml:4:3", "write order: 1 beside them"),
        (DISKS + "  kind: lcx", "p.yaml:4:3", "'lcx' is no kind of machine: write vm, or lxc"),
        (DISKS + "  kind: lxc", "p.yaml:1:1", "'template' is missing"),
        (
            f"  disks: {{root: {{size: 8GiB}}, d: {{size: 1GiB}}}}\n  kind: lxc\n  template: {LXC}",
            "p.yaml:1:1",
            "a container's disk d needs its place",
        ),
        (DISKS + "  kind: lxc\n  template: debian", "p.yaml:5:3", "as pveam list shows it"),
    ],
)
def test_each_mistake_at_its_place(lab_dir, machine, where, says):
    found = told(lab_dir, machine)
    assert any(where in line and says in line for line in found), found


@pytest.mark.parametrize("provider", ["box", "sand"])
@pytest.mark.parametrize(
    "line",
    ["network: {vlan: 5}", "tags: [a]", "pool: p", "start: {at_boot: false}", "protection: true"],
)
def test_what_only_proxmox_can_do_is_refused_elsewhere(lab_dir, provider, line):
    found = told(lab_dir, DISKS + f"  {line}", provider=provider)
    name = line.partition(":")[0]
    assert any(f"{name} is for a provider of kind proxmox" in problem for problem in found), found
    assert all("personas/p.yaml:4:3: " in problem for problem in found), found


def test_a_container_is_refused_elsewhere(lab_dir):
    (problem,) = told(lab_dir, DISKS + f"  kind: lxc\n  template: {LXC}", provider="box")
    assert "personas/p.yaml:4:3" in problem
    assert "containers (kind: lxc) are made by a provider of kind proxmox, not qemu" in problem


def test_what_goes_with_an_address_is_refused_without_one(lab_dir):
    line = DISKS + "  network: {gateway: 192.0.2.1, dns: [192.0.2.1]}"
    found = told(lab_dir, line, host="address: null")
    assert len(found) == 2
    assert all("in the host's entry" in problem for problem in found)


def test_an_address_needs_its_network(lab_dir):
    line = DISKS + "  network: {gateway: 192.0.2.1}"
    found = told(lab_dir, line, host="address: 192.0.2.11")
    assert any("hosts.yaml:5:5" in p and "write 192.0.2.11/24" in p for p in found), found


def test_all_of_it_at_once(lab_dir):
    (part,) = load(
        lab_dir,
        "  disks: {root: {size: 8GiB}, data: {size: 1GiB, durable: true}}\n"
        "  network: {bridge: vmbr1, vlan: 20, gateway: 192.0.2.1, dns: [192.0.2.1], domain: lan}\n"
        "  tags: [web, house]\n  pool: lab\n  start: {order: 2, up: 30}\n  protection: true\n"
        "  boot: [root, net]\n  agent: false\n",
    )
    assert part.driver == "terraform"
    assert part.spec.machine.tags == ("house", "web")


def test_another_state_for_tofu_needs_the_hosts_name_in_it(lab_dir):
    files = {
        "lab.yaml": PROVIDERS.replace("storage: disks", "storage: d, backend: {s3: {bucket: b}}"),
        "personas/p.yaml": f"machine:\n  memory: 1GiB\n{DISKS}system: none\n",
        "inventory/hosts.yaml": "hosts: {a: {persona: p, provider: pve}}\n",
    }
    with pytest.raises(ConfigError, match=r"each host has a state of its own: write \{host\}"):
        inventory.load(lab_dir(files), LAYERS, Vault())
