"""What a twin is, and what nobody can make one of."""

import pytest
import yaml

from lab.config import inventory
from lab.errors import LabError
from lab.model.host import Host
from lab.recovery import twins
from lab.recovery.twins import Sandbox, sandbox_for
from layers import LAYERS

WEB = Host("web1", "web", "box")


@pytest.mark.parametrize(
    ("driver", "asked", "kind", "like"),
    [
        ("qemu", "", "qemu", "box"),
        ("docker", "", "docker", "box"),
        ("qemu", "docker", "docker", ""),
        ("docker", "qemu", "qemu", ""),
        ("proxmox", "", "docker", ""),
    ],
)
def test_a_twin_is_of_its_hosts_own_kind_or_a_container(driver, asked, kind, like):
    assert sandbox_for(WEB, driver, asked) == Sandbox(kind, like)


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
