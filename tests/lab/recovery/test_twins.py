"""The files of a twin stand where the host itself could not."""

from lab.config import inventory
from lab.recovery import twins
from layers import LAYERS


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
