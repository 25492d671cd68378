"""What is declared and what was found, to the plan: cases as YAML beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.layer import Target
from lab.model.files import LabFile
from lab.model.host import Host
from layers.l3_system import planner
from layers.l3_system.spec import Document, Inputs, Observed

FILES = {
    "motd.j2": b"This is {{ host.name }}, a {{ host.persona }}\n",
    "me.pub": b"# mine\nssh-ed25519  AAAAmine me@desk\n",
    "shop.asc": b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
    "home.pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
}
CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted((Path(__file__).parent / "plans").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
]


class Reader:
    def file(self, value: str) -> LabFile:
        return LabFile(value, FILES[value])


def target_of(case: dict[str, Any]) -> Target[Any, Any]:
    document = {"system": case["system"], "machine": {"disks": case.get("disks", {})}}
    parsed = Document.model_validate(document, context={"reader": Reader()})
    (part,) = planner.parts(parsed)
    return Target(Host("web1", "web", "box"), part.spec, Inputs())


@pytest.mark.parametrize("case", CASES)
def test_case(case):
    target = target_of(case)
    things = {**planner.desired(target_of({"system": {}})).model_dump()["things"], **case["things"]}
    if not case.get("disks"):
        things.setdefault("filesystem", {})
    elif "filesystem" not in case["things"]:
        things.pop("filesystem")
    if target.spec.hostname and "hostname" not in case["things"]:
        things.pop("hostname")
    observed = Observed.model_validate({"things": things, "owned": case.get("owned", {})})
    plan = planner.plan(target, observed, frozenset())
    assert [f"{c.action.sign} {c.what}" for c in plan.changes] == case["changes"]
    assert [b.what for b in plan.blockers] == case.get("blockers", [])
    for what, fields in case.get("fields", {}).items():
        change = plan.change(what)
        assert change is not None
        assert {f.field: [f.before, f.after] for f in change.fields} == fields
    attributes = {"reasons": "reason", "interrupts": "interrupts", "destroys": "destroys"}
    for key, attribute in attributes.items():
        for what, text in case.get(key, {}).items():
            change = plan.change(what)
            assert change is not None
            assert getattr(change, attribute) == text
    for what, lines in case.get("diff", {}).items():
        change = plan.change(what)
        assert change is not None
        text = next(f.text for f in change.fields if f.text)
        assert set(lines) <= set(text.splitlines())
    assert all(not c.destroys or c.what in case.get("destroys", {}) for c in plan.changes)


@pytest.mark.parametrize("case", CASES)
def test_what_is_desired_needs_nothing(case):
    target = target_of(case)
    assert not planner.plan(target, planner.desired(target), frozenset())


def test_what_goes_goes_first_and_in_reverse_order():
    owned = dict.fromkeys(["package x", "user ops", "file /a", "service x.service"], "made")
    target = target_of({"system": {"packages": ["yy"], "services": {"y": "running"}}})
    plan = planner.plan(target, Observed(owned=owned), frozenset())
    assert [c.what for c in plan.changes] == [
        "service x.service",
        "file /a",
        "user ops",
        "package x",
        "package yy",
        "hostname web1",
        "service y.service",
    ]


def test_an_appliance_has_no_parts():
    assert planner.parts(Document.model_validate({"system": "none"})) == ()


def test_without_a_section_the_host_still_gets_its_name():
    (part,) = planner.parts(Document.model_validate({"provider": {"kind": "memory"}}))
    assert part.driver == "memory"


def test_a_fresh_machine_is_what_its_baseline_says():
    target = target_of(
        {
            "system": {
                "packages": ["docker.io", "curl"],
                "services": {"docker": "running"},
                "users": {"root": {"shell": "/bin/bash"}},
            }
        }
    )
    baseline = {
        "packages": {"docker.io": ""},
        "units": {"docker.service": "enabled"},
        "users": {"root": {"uid": 0, "gid": 0, "home": "/root", "shell": "/bin/bash"}},
    }
    inputs = Inputs.model_validate({"baseline": baseline})
    predicted = Target(target.host, target.spec, inputs)
    plan = planner.plan(predicted, planner.fresh(predicted), frozenset())
    assert [c.what for c in plan.changes] == ["package curl", "hostname web1"]


def test_destroying_is_the_machines_matter():
    target = target_of({"system": {"packages": ["curl"]}})
    absent = Target(target.host, target.spec, target.inputs, absent=True)
    assert not planner.plan(absent, None, frozenset())
