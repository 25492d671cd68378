"""The contract for the memory drivers of all layers, on every host of the example lab."""

import pytest

from lab import Approval, Lab
from lab.layer import Target
from lab.model.outcome import ExitCode
from layers import LAYERS

HOSTS = ("web1", "db1", "nas1")


def test_every_layer_has_a_memory_driver():
    assert [layer.name for layer in LAYERS if "memory" not in layer.drivers] == []


@pytest.mark.parametrize("name", HOSTS)
def test_the_contract_holds(memory_lab, hold, make_subject, name):
    with Lab.load(memory_lab) as lab:
        host = lab.inventory.hosts[name]
        handed = {}
        for layer in lab.layers:
            for part in host.parts[layer.name]:
                driver = layer.drivers[part.driver](lab.workspace)
                inputs = layer.inputs.model_validate(handed)
                target = Target(host, part.spec, inputs, part.name)
                lab.workspace.state.mkdir(parents=True, exist_ok=True)
                outputs = hold(make_subject(layer, driver, target, lab.workspace.state))
                handed |= outputs.model_dump()


@pytest.mark.parametrize("name", HOSTS)
def test_what_is_predicted_is_what_comes(memory_lab, name):
    with Lab.load(memory_lab) as lab:
        planned = lab.plan(f"host={name}")
        done = lab.converge(f"host={name}", approval=Approval(only=plans(planned)))
        assert done.exit_code is ExitCode.OK, [p.failure for p in done.parts if p.failure]
        assert planned.changes == done.changes
        again = lab.converge(f"host={name}")
        assert (again.exit_code, again.changes) == (ExitCode.OK, 0)


def plans(report):
    return {(p.host, p.layer, p.part): p.plan for p in report.parts if p.host}


def test_destroy_keeps_durable_disks_until_their_name_is_typed(memory_lab):
    with Lab.load(memory_lab) as lab:
        lab.converge("host=web1")
        allowed = Approval(allow_destroy=True, confirmed=frozenset({"web1"}))
        lab.destroy("host=web1", approval=allowed)
        kept = lab.plan_destroy("host=web1", with_data=True)
        assert ["disk" in c.what for p in kept.parts for c in p.plan.changes if p.host] == [True]
        lab.destroy("host=web1", approval=allowed, with_data=True)
        assert lab.plan_destroy("host=web1", with_data=True).changes == 0


def test_a_protected_host_is_never_destroyed(memory_lab):
    with Lab.load(memory_lab) as lab:
        lab.converge("host=db1")
        allowed = Approval(allow_destroy=True, confirmed=frozenset({"db1"}))
        report = lab.destroy("host=db1", approval=allowed, with_data=True)
        assert report.exit_code is ExitCode.REFUSED
        assert lab.verify("host=db1").changes == 0
