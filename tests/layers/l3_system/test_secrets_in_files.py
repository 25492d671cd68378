"""Secrets in files: named in the lab, on the host in full, and shown nowhere."""

from __future__ import annotations

import json

import pytest

from lab.layer import Target
from lab.model.files import LabFile
from lab.model.host import Host
from lab.model.plan import Plan, to_json
from lab.model.secret import NoSecrets, Secret, SecretName
from layers.l3_system import planner
from layers.l3_system.kinds import edit, file
from layers.l3_system.spec import Document, Inputs, Observed

VALUE = "canary-of-the-secret"


class Safe(NoSecrets):
    """Holds one value, and counts who looks."""

    def __init__(self) -> None:
        self.looked = 0

    def reveal(self, name: str) -> str:
        self.looked += 1
        return VALUE


@pytest.fixture
def safe() -> Safe:
    return Safe()


@pytest.fixture
def target(safe):
    def make(system, **values) -> Target:
        context = {"secrets": safe, "reader": None}
        document = Document.model_validate({"system": system}, context=context)
        (part,) = planner.parts(document)
        return Target(Host("web1", "web", "box", vars=values), part.spec, Inputs())

    return make


def _shown(plan: Plan) -> str:
    return json.dumps(to_json(plan)) + "".join(f.text for c in plan.changes for f in c.fields)


def template(text: str) -> dict[str, LabFile]:
    return {"template": LabFile("t.j2", text.encode())}


CASES = [
    {"files": {"/a": {"content": SecretName("s")}}},
    {"files": {"/a": template("x {{ vars.token }}\n")}},
    {"files": {"/a": template("{% for k, v in vars.items() %}{{ v }}{% endfor %}")}},
    {"files": {"/a": template("{{ host.vars.nested.list[0] }} {{ vars.get('token') | upper }}")}},
    {"lines": {"/a": {"one": SecretName("s")}}},
    {"blocks": {"/a": {"one": {"content": SecretName("s")}}}},
    {"blocks": {"/a": {"one": template("p={{ vars['token'] }}")}}},
]


@pytest.mark.parametrize("system", CASES, ids=lambda s: str(s)[:60])
def test_the_host_gets_the_value_and_nobody_else_sees_it(target, safe, system):
    here = target(system, token=Secret("s", safe), nested={"list": [Secret("s", safe)]})
    wanted = planner.wanted(here)
    before = "old line\n"
    kind = "edit" if "files" not in system else "file"
    facts = {"kind": "file", "text": before, "now": before, "record": None}
    found = {kind: {"/a": {"fields": {"content": "0" * 64, "mode": "0644"}, "facts": facts}}}
    observed = Observed.model_validate({"things": found})
    for plan in (
        planner.plan(here, observed, frozenset()),
        planner.plan(here, None, frozenset()),
    ):
        change = plan.change(f"{kind} /a")
        assert change is not None
        content = next(f for f in change.fields if f.field == "content")
        assert (content.secret, content.text) == (True, "")
        assert VALUE not in _shown(plan)
        thing = {"/a": wanted[kind]["/a"]}
        (step,) = (file if kind == "file" else edit).steps([change], thing)
        assert VALUE in step.stdin.decode() or VALUE.upper() in step.stdin.decode()
        assert VALUE not in step.script


def test_the_text_of_a_file_that_holds_a_secret_does_not_travel(target, safe):
    here = target({"files": {"/a": {"content": SecretName("s")}, "/b": {"content": "x"}}})
    script = file.probe(planner.wanted(here)["file"])
    assert "h=/a;" in script.replace("'", "") or "h=/a\n" in script.replace("'", "")


@pytest.mark.parametrize("system", CASES, ids=lambda s: str(s)[:60])
def test_looking_for_mistakes_reveals_nothing(target, safe, system):
    here = target(system, token=Secret("s", safe), nested={"list": [Secret("s", safe)]})
    (part,) = [p for p in planner.parts(Document()) if p] or [None]
    assert part is not None
    part = type(part)("", "native", here.spec)
    assert planner.check(here.host, part) == ()
    assert safe.looked == 0


def test_a_template_that_uses_no_secret_is_shown_and_reveals_none(target, safe):
    here = target({"files": {"/a": template("{{ vars.plain }}\n")}}, plain="p", t=Secret("s", safe))
    (change,) = [c for c in planner.plan(here, None, frozenset()).changes if c.what == "file /a"]
    assert "+p" in change.fields[0].text.splitlines()
    assert not change.fields[0].secret
    assert safe.looked == 0


def test_a_secret_survives_the_ledger_as_its_name(target):
    spec = target({"files": {"/a": {"content": SecretName("s")}}}).spec
    text = spec.model_dump_json()
    assert VALUE not in text
    assert type(spec).model_validate_json(text).files["/a"].content == Secret("s")
