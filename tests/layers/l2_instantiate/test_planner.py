from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.layer import Above
from layers.l2_instantiate import planner
from layers.l2_instantiate.spec import Observed
from layers.l2_instantiate.wanted import CONTAINER_REPLACE_ON, REPLACE_ON, desired

HERE = Path(__file__).parent
CASES: list[dict[str, Any]] = [
    *yaml.safe_load((HERE / "plans.yaml").read_text()),
    *yaml.safe_load((HERE / "container_plans.yaml").read_text()),
]


def laid_over(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(base)
    for key, value in over.items():
        if value == "(none)":
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = laid_over(result[key], value)
        else:
            result[key] = value
    return result


def arranged(case: dict[str, Any], one_host: Any) -> tuple[Any, Observed | None]:
    one_host.declare(**case.get("declared", {}))
    one_host.provider |= case.get("provider", {})
    one_host.inputs = one_host.inputs.model_copy(update=case.get("inputs", {}))
    target = one_host.target(**case.get("flags", {}))
    if case["observed"] is None:
        return target, None
    found = laid_over(desired(target).model_dump(), case["observed"])
    return target, Observed.model_validate(found)


def replace_on(target: Any) -> frozenset[str]:
    return REPLACE_ON if target.spec.engine is None else CONTAINER_REPLACE_ON


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_plan(case: dict[str, Any], one_host: Any) -> None:
    target, observed = arranged(case, one_host)
    plan = planner.plan(target, observed, replace_on(target))

    assert [f"{c.action} {c.what}" for c in plan.changes] == [c["do"] for c in case["changes"]]
    for change, wanted in zip(plan.changes, case["changes"], strict=True):
        if "fields" in wanted:
            assert {f.field: [f.before, f.after] for f in change.fields} == wanted["fields"]
        for name in wanted.keys() - {"do", "fields"}:
            assert getattr(change, name) == wanted[name], name
    assert [b.what for b in plan.blockers] == case.get("blockers", [])
    assert list(plan.notes) == case.get("notes", [])
    text = " ".join(f"{b.why} {b.hint}" for b in plan.blockers)
    for words in case.get("says", []):
        assert words in text
    if "above" in case:
        assert planner.predict(target, observed, plan).above is Above(case["above"])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_nothing_is_left_to_do_on_what_is_desired(case: dict[str, Any], one_host: Any) -> None:
    target, _ = arranged(case | {"flags": {}}, one_host)
    assert not planner.plan(target, desired(target), replace_on(target))


def test_before_it_exists_what_is_not_known_is_none(one_host: Any) -> None:
    target = one_host.target()
    plan = planner.plan(target, None, REPLACE_ON)
    handed = planner.predict(target, None, plan).outputs
    assert handed.model_dump() == {
        "address": "127.0.0.1",
        "port": None,
        "user": "strata",
        "host_key": None,
        "identity_file": None,
        "connection": "ssh",
        "sudo_password": None,
        "endpoints": {"8080": "127.0.0.1:18080"},
        "shut": False,
    }


def test_a_stopped_machine_hands_up_what_is_known_of_it(one_host: Any) -> None:
    target = one_host.target()
    observed = desired(target).model_copy(update={"power": "stopped", "port": 2201})
    plan = planner.plan(target, observed, REPLACE_ON)
    assert planner.predict(target, observed, plan).outputs == planner.outputs(target, observed)
    assert planner.outputs(target, observed).port == 2201


def test_udp_and_any_address_as_seen_from_here(one_host: Any) -> None:
    one_host.declare(ports=["0.0.0.0:80:8080", "53:53/udp"])
    target = one_host.target()
    handed = planner.outputs(target, desired(target))
    assert handed.endpoints == {"8080": "127.0.0.1:80"}


def test_claims_lead_to_where_the_document_says_so(one_host: Any) -> None:
    def claims() -> list[tuple[str, tuple[Any, ...]]]:
        target = one_host.target()
        part = planner.Part("", "qemu", target.spec)
        return [(c.what, c.path) for c in planner.claims(target.host, part)]

    assert claims() == [("tcp 127.0.0.1:18080", ("machine", "ports", 18080))]
    one_host.declare(ports=["18080:80", "53:53/udp"])
    assert claims() == [
        ("tcp 127.0.0.1:18080", ("machine", "ports", 0)),
        ("udp 127.0.0.1:53", ("machine", "ports", 1)),
    ]


def test_a_persona_without_a_machine_has_no_parts() -> None:
    document = planner.Document.model_validate({"provider": {"kind": "qemu"}, "system": {}})
    assert planner.parts(document) == ()


def test_a_container_needs_a_place_for_each_disk(one_host: Any) -> None:
    target = one_host.target()
    assert planner.check(target.host, planner.Part("", "qemu", target.spec)) == ()
    one_host.provider = {"kind": "docker"}
    docker = planner.Part("", "docker", one_host.target().spec)
    assert planner.check(target.host, docker) == (
        (
            ("machine", "disks", "data"),
            "for kind docker the disk data needs its place: mount: /srv",
        ),
    )
