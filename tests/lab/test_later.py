"""A model that is imported when a value is there: as if it stood in the annotation itself."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from lab.config.problems import problems_of
from lab.config.tree import Node, Place
from lab.model.later import later
from layers.l3_system.spec import System
from layers.l3_system.spec.firewall import Firewall as Real

FIREWALL = later("layers.l3_system.spec.firewall:Firewall")


class Direct(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    one: Real | None = None
    many: dict[str, Real] = {}


class Deferred(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    one: FIREWALL | None = None
    many: dict[str, FIREWALL] = {}


GOOD = {"one": {"allow": ["ssh", {"port": "80-90", "proto": "tcp"}]}, "many": {"a": {}}}
BAD: list[dict[str, Any]] = [
    {"one": {"alow": []}},
    {"one": {"allow": [{"port": "x"}], "policy": "maybe"}},
    {"one": 7},
    {"many": {"a": {"policy": 3, "more": 1}, "b": []}},
]


def test_a_value_is_the_models_own():
    made, expected = Deferred.model_validate(GOOD), Direct.model_validate(GOOD)
    assert isinstance(made.one, Real)
    assert made.one == expected.one
    assert made.many == expected.many
    assert Deferred(one=expected.one).one == expected.one


def test_it_goes_through_json_unchanged():
    made = Deferred.model_validate(GOOD)
    assert made.model_dump() == Direct.model_validate(GOOD).model_dump()
    assert Deferred.model_validate_json(made.model_dump_json()) == made


def test_a_line_of_a_crontab_comes_back_from_the_ledger():
    made = System.model_validate({"cron": {"a": "30 3 * * * root true"}})
    text = made.model_dump_json(exclude_defaults=True)
    assert text == '{"cron":{"a":"30 3 * * * root true"}}'
    assert System.model_validate_json(text) == made


def as_tree(value: Any) -> Node:
    place = Place("file.yaml", 1, 1)
    if isinstance(value, dict):
        keys = dict.fromkeys(value, place)
        return Node({k: as_tree(v) for k, v in value.items()}, place, keys)
    if isinstance(value, list):
        return Node([as_tree(v) for v in value], place)
    return Node(value, place)


@pytest.mark.parametrize("value", BAD)
def test_mistakes_and_their_places_are_the_same(value):
    with pytest.raises(ValidationError) as deferred:
        Deferred.model_validate(value)
    with pytest.raises(ValidationError) as direct:
        Direct.model_validate(value)
    places = [[(e["loc"], e["type"]) for e in x.value.errors()] for x in (deferred, direct)]
    assert places[0] == places[1]
    told = [
        [p.what for p in problems_of(x.value, model, as_tree(value))]
        for x, model in ((deferred, Deferred), (direct, Direct))
    ]
    assert told[0] == told[1]


def test_the_nearest_right_key_is_found_behind_it():
    with pytest.raises(ValidationError) as caught:
        Deferred.model_validate({"one": {"alow": []}})
    (problem,) = problems_of(caught.value, Deferred, as_tree({"one": {"alow": []}}))
    assert "did you mean 'allow'?" in problem.what


def test_the_schema_is_the_models_own():
    made, expected = Deferred.model_json_schema(), Direct.model_json_schema()
    made["properties"]["one"].pop("title")  # the key's own name, as every plain value has it
    assert made["properties"] == expected["properties"]
    assert made["$defs"] == expected["$defs"]


def test_what_no_file_names_is_not_loaded(tmp_path):
    """A lab of machines that are there already, with a few keys of ``system``."""
    files = {
        "lab.yaml": "name: small\nproviders: {there: {kind: existing}}\n",
        "personas/p.yaml": "system: {files: {/etc/x: {content: y}}}\n",
        "inventory/hosts.yaml": "hosts: {a: {persona: p, provider: there, address: 192.0.2.1}}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    spared = (
        "jinja2",
        "lab.model.proxmox",
        "lab.secrets.sops",
        "layers.l0_runway.cluster",
        "layers.l1_image.spec",
        "layers.l2_instantiate.machines",
        "layers.l3_system.spec.firewall",
        "layers.l3_system.spec.handed_over",
        "layers.l4_workload.spec",
    )
    code = (
        "import sys; from lab.cli.main import run; code = run(['validate', '-C', sys.argv[1]]);"
        f"print('LOADED', [m for m in {spared!r} if m in sys.modules], code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED [] 0", done.stderr
