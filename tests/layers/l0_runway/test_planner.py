from pathlib import Path

import pytest
import yaml

from lab.layer import Target
from lab.model.host import Host
from lab.model.outcome import Level
from layers.l0_runway import LAYER, planner
from layers.l0_runway.spec import Document, Inputs, Observed, Spec

CASES = yaml.safe_load(Path(__file__).with_name("findings.yaml").read_text())
HOST = Host(name="web1", persona="web", provider="box")


def target(needs):
    return Target(HOST, Spec.model_validate(needs), Inputs())


def seen(case):
    wished = planner.desired(target(case.get("needs", {}))).model_dump()
    return Observed.model_validate({**wished, **case["observed"]})


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_findings(case):
    observed = seen(case)
    found = planner.findings(observed)

    def of(level):
        return [f"{f.what}: {f.detail}" for f in found if f.level is level]

    assert of(Level.FAIL) == case.get("fails", [])
    assert of(Level.WARN) == case.get("warns", [])
    if "hint" in case:
        assert found[0].hint == case["hint"]
    if "accelerator" in case:
        assert planner.outputs(target({}), observed).accelerator == case["accelerator"]

    plan = planner.plan(target(case.get("needs", {})), observed, frozenset())
    assert not plan.changes
    assert len(plan.blockers) == len(case.get("fails", []))
    assert len(plan.notes) == len(case.get("warns", []))
    assert bool(plan) == bool(case.get("fails"))


def test_a_destroyed_host_needs_nothing_of_this_machine():
    observed = seen({"observed": {"disk_now": 1}})
    absent = Target(HOST, Spec(), Inputs(), absent=True)
    assert not planner.plan(absent, observed, frozenset())


def test_the_needs_are_read_from_the_document():
    document = Document.model_validate(
        {
            "provider": {"kind": "qemu", "name": "box", "accelerator": "tcg"},
            "image": {"base": "debian-13", "packages": []},
            "machine": {
                "memory": "1GiB",
                "disks": {"root": {"size": "8GiB"}, "data": {"size": "4GiB", "durable": True}},
                "ports": {18080: 8080},
            },
        }
    )
    (part,) = LAYER.parts(document)
    spec = part.spec
    assert part.driver == "local"
    assert (spec.builds, spec.accelerator) == ("debian-13", "tcg")
    assert (spec.memory, spec.disks) == (1 << 30, 12 << 30)
    assert [(p.address, p.number, p.protocol) for p in spec.ports] == [("127.0.0.1", 18080, "tcp")]


@pytest.mark.parametrize(
    "ports", [["127.0.0.1:5353:53/udp"], ["0.0.0.0:8080:80"], {"18080": "8080"}, [8080], "x", None]
)
def test_ports_are_read_as_compose_writes_them(ports):
    spec = Spec.of(Document.model_validate({"machine": {"ports": ports}}))
    shown = [f"{p.address}:{p.number}/{p.protocol}" for p in spec.ports]
    assert shown == {
        "['127.0.0.1:5353:53/udp']": ["127.0.0.1:5353/udp"],
        "['0.0.0.0:8080:80']": ["0.0.0.0:8080/tcp"],
        "{'18080': '8080'}": ["127.0.0.1:18080/tcp"],
    }.get(str(ports), [])


@pytest.mark.parametrize(
    "document",
    [
        {"machine": "no"},
        {"machine": {"memory": 5, "disks": ["x"], "ports": {"a": "b"}}},
        {"machine": {"disks": {"root": "8GiB"}, "memory": "lots", "ports": {99999999: 1}}},
        {"image": [], "provider": {"kind": "qemu", "accelerator": ["x"], "firmware": 7}},
        {"image": {"base": {"url": "x", "checksum": "y"}}},
    ],
)
def test_what_other_layers_refuse_is_left_to_them(document):
    spec = Spec.of(Document.model_validate(document))
    assert (spec.builds, spec.memory, spec.ports) == ("", 0, ())


def test_a_memory_host_needs_nothing(workspace):
    (part,) = LAYER.parts(Document.model_validate({"provider": {"kind": "memory"}}))
    driver = LAYER.drivers[part.driver](workspace)
    asked = Target(HOST, part.spec, Inputs())
    assert not planner.plan(asked, driver.observe(asked), driver.replace_on)
