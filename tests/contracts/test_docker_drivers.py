"""The contract for the drivers of a docker host, on a real engine."""

import os

import pytest

from lab import Approval, Lab
from lab.layer import Target

pytestmark = pytest.mark.engine

MACHINE = """
machine:
  memory: 256MiB
  disks: {root: {size: 8GiB}, data: {size: 1GiB, durable: true, mount: /srv}}
system: none
"""


@pytest.fixture
def docker_lab(sandbox, lab_dir):
    """One host of the sandbox's own image, in a lab beside it."""
    sandbox.template("plain")
    (image,) = [
        line
        for line in (sandbox.root / "personas/plain.yaml").read_text().splitlines()
        if line.startswith("image:")
    ]
    root = lab_dir(
        {
            "lab.yaml": f"name: contract{os.getpid()}\nproviders:\n"
            f"  box: {{kind: docker, host: '{sandbox.engine}'}}\n",
            "personas/node.yaml": image + MACHINE,
            "inventory/hosts.yaml": "hosts: {n1: {persona: node, provider: box}}\n",
        }
    )
    with Lab.load(root) as lab:
        yield lab
        allowed = Approval(allow_destroy=True, confirmed=frozenset({"n1"}))
        lab.destroy("host=n1", approval=allowed, with_data=True)


def test_the_contract_holds_from_the_runway_to_the_machine(docker_lab, hold, make_subject):
    lab = docker_lab
    host, handed = lab.inventory.hosts["n1"], {}
    lab.workspace.state.mkdir(parents=True)
    for layer in lab.layers:
        for part in host.parts[layer.name]:
            assert part.driver in {"local", "container", "docker"}
            target = Target(host, part.spec, layer.inputs.model_validate(handed), part.name)
            driver = layer.drivers[part.driver](lab.workspace)
            outputs = hold(make_subject(layer, driver, target, lab.workspace.state))
            handed |= outputs.model_dump()
    assert handed["host_key"].startswith("ssh-ed25519 ")


def test_nothing_is_left_of_a_lab_that_is_forgotten(docker_lab, sandbox):
    lab = docker_lab
    assert lab.converge("host=n1").exit_code == 0
    assert lab.verify("host=n1").changes == 0
    allowed = Approval(allow_destroy=True, confirmed=frozenset({"n1"}))
    assert lab.destroy("host=n1", approval=allowed, with_data=True).exit_code == 0
    lab.forget()
    assert not lab.workspace.state.exists()
    name = lab.name
    for listing in (("ps", "-a"), ("images",), ("volume", "ls")):
        assert name not in sandbox.docker(*listing)
