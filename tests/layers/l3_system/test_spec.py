"""What users may write, and what they are told when it is wrong."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from lab.layer import Target
from lab.model.files import LabFile
from lab.model.host import Host, Part
from layers.l3_system import planner
from layers.l3_system.spec import Document, Inputs

KEY = LabFile("keys/me", b"-----BEGIN OPENSSH PRIVATE KEY-----\n")
HOST = Host("web1", "web", "box")


@pytest.mark.parametrize(
    ("system", "where", "says"),
    [
        (
            {"files": {"/a": {"content": "", "mode": 420}}},
            ("files", "/a", "mode"),
            'quotes: "0644"',
        ),
        ({"files": {"/a": {"content": "", "mode": "rw"}}}, ("files", "/a", "mode"), 'like "0644"'),
        ({"files": {"a": {"content": ""}}}, ("files", "a", "[key]"), "not absolute"),
        ({"files": {"/a/../b": {"content": ""}}}, ("files", "/a/../b", "[key]"), "through"),
        ({"files": {"/a\nb": {"content": ""}}}, ("files", "/a\nb", "[key]"), "control character"),
        ({"files": {"/a": {}}}, ("files", "/a"), "exactly one of"),
        ({"users": {"Ops!": {}}}, ("users", "Ops!", "[key]"), "not a user's"),
        (
            {"users": {"a": {"authorized_keys": [KEY]}}},
            ("users", "a", "authorized_keys", "keys", 0),
            "private",
        ),
        (
            {"packages": ["curl; rm -rf /"]},
            ("packages", 0, "curl; rm -rf /", "[key]"),
            "not a package's name",
        ),
        ({"services": {"docker": "runing"}}, ("services", "docker", "state"), "running"),
        ({"services": {"$(x)": "running"}}, ("services", "$(x)", "[key]"), "not a service's name"),
        ({"sysctl": {"swappiness": 1}}, ("sysctl", "swappiness", "[key]"), "vm.swappiness"),
        ({"sysctl": {"vm.x": True}}, ("sysctl", "vm.x"), "write 1 or 0"),
        ({"mounts": {"/": {"source": "x"}}}, ("mounts", "/", "[key]"), "machine itself"),
        ({"swap": {"/a b": "1GiB"}}, ("swap", "/a b", "[key]"), "without blanks"),
        ({"hostname": "A_b"}, ("hostname",), "not a hostname"),
        ({"package": ["curl"]}, ("package",), "not permitted"),
    ],
)
def test_a_mistake_is_named_with_its_place(system, where, says):
    with pytest.raises(ValidationError) as caught:
        Document.model_validate({"system": system})
    (error,) = caught.value.errors()
    assert error["loc"] == ("system", *where)
    assert says in error["msg"]


def test_short_forms():
    system = Document.model_validate(
        {
            "system": {
                "services": {"docker": "running"},
                "groups": {"a": None},
                "sysctl": {"vm.x": 1},
            }
        }
    ).system
    assert system is not None
    assert system.services["docker"].state == "running"
    assert system.sysctl["vm.x"] == "1"


def test_disks_that_l2_will_refuse_are_none_of_our_business():
    document = Document.model_validate({"machine": {"disks": {"data": 3, "b": {"mount": "/b"}}}})
    assert list(document.machine.disks) == ["b"]
    assert Document.model_validate({"machine": {"disks": []}}).machine.disks == {}


def _check(system, **rest) -> dict[tuple[str | int, ...], str]:
    (part,) = planner.parts(Document.model_validate({"system": system, **rest}))
    return dict(planner.check(HOST, part))


def test_a_template_that_does_not_render_is_told_with_its_place():
    files = {
        "/a": {"template": LabFile("a.j2", b"line\n{{ host.nam }}\n")},
        "/b": {"template": LabFile("b.j2", b"line\n{% if %}\n")},
        "/c": {"template": LabFile("c.j2", b"{{ 1 / 0 }}")},
        "/d": {"template": LabFile("d.j2", b"\xff")},
        "/e": {"template": LabFile("e.j2", b"{{ ''.__class__.__mro__ }}")},
        "/f": {"template": LabFile("f.j2", b"{{ host.tags }}")},
    }
    problems = _check({"files": files})
    assert {path[2] for path in problems} == {"/a", "/b", "/c", "/d", "/e"}
    assert "has no attribute 'nam'" in problems["system", "files", "/a", "template"]
    assert "line 2" in problems["system", "files", "/b", "template"]


def test_contradictions():
    problems = _check(
        {
            "files": {"/a": {"content": ""}},
            "directories": {"/a": None},
            "mounts": {"/srv": {"source": "x"}},
            "services": {"x": {"state": "running", "restart_on": ["/b"]}, "x.service": "stopped"},
        },
        machine={"disks": {"data": {"mount": "/srv"}}},
    )
    assert set(problems) == {
        ("system", "files", "/a"),
        ("system", "mounts", "/srv"),
        ("system", "services", "x", "restart_on", 0),
        ("system", "services", "x.service"),
    }


def test_the_spec_survives_the_ledger_as_json():
    document = {
        "system": {"packages": ["curl"], "services": {"a": "running"}, "sysctl": {"vm.x": 1}}
    }
    (part,) = planner.parts(Document.model_validate(document))
    spec = type(part.spec).model_validate_json(part.spec.model_dump_json())
    assert planner.plan(Target(HOST, spec, Inputs()), None, frozenset()).changes
    assert isinstance(part, Part)
