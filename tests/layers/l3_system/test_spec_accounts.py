"""What users may write about accounts and software, and what they are told when it is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lab.model.files import LabFile
from lab.model.host import Host
from layers.l3_system import planner
from layers.l3_system.spec import Document
from layers.l3_system.spec.accounts import key_of
from layers.l3_system.spec.package import Package

REPOSITORY = {"uris": ["https://shop"], "suites": ["trixie"], "components": ["main"]}
PUBLIC = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"
CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def _repository(**more: Any) -> dict[str, Any]:
    return {"repositories": {"shop": {**REPOSITORY, **more}}}


def _ca(content: bytes) -> dict[str, Any]:
    return {"certificate_authorities": {"home": LabFile("home.pem", content)}}


@pytest.mark.parametrize(
    ("system", "where", "says"),
    [
        ({"users": {"a": {"shell": ""}}}, ("users", "a", "shell"), "not absolute"),
        ({"users": {"a": {"shell": "bash"}}}, ("users", "a", "shell"), "not absolute"),
        ({"users": {"a": {"home": "a"}}}, ("users", "a", "home"), "not absolute"),
        ({"users": {"a": {"remove_home": True}}}, ("users", "a"), "goes with state: absent"),
        ({"users": {"a": {"password_hash": "$6$x"}}}, ("users", "a", "password_hash"), "!secret"),
        (
            {"users": {"a": {"authorized_keys": [LabFile("k", b"\nrsa AAAA\n")]}}},
            ("users", "a", "authorized_keys", "keys", 0),
            "k holds no public key in line 2",
        ),
        (
            {"users": {"a": {"authorized_keys": ["ssh-rsa AAAA:"]}}},
            ("users", "a", "authorized_keys", "keys", 0),
            "ssh-rsa AAAA: holds no public key",
        ),
        ({"sudoers": {"a.b": "x"}}, ("sudoers", "a.b", "[key]"), "sudo ignores files with a dot"),
        ({"sudoers": {"a~": "x"}}, ("sudoers", "a~", "[key]"), "sudo ignores files with a dot"),
        ({"sudoers": {"a": {}}}, ("sudoers", "a"), "exactly one of"),
        ({"packages": [{"nginx": "1.26"}]}, ("packages", 0, "nginx"), "is no demand"),
        (
            {"packages": [{"nginx": {"version": "1 2"}}]},
            ("packages", 0, "nginx"),
            "is not a version",
        ),
        (
            {"packages": [{"a1": {"state": "absent", "hold": True}}]},
            ("packages", 0, "a1"),
            "what is absent",
        ),
        ({"packages": [{"a1": {"purge": True}}]}, ("packages", 0, "a1"), "purge goes with"),
        (
            {"packages": ["curl", "nginx", {"nginx": "absent"}]},
            ("packages", 2),
            "nginx is demanded as installed already, which contradicts: absent",
        ),
        (
            {"packages": [{"a1": {"version": "1"}}, {"a1": {"version": "2"}}]},
            ("packages", 1),
            "installed, version 1 already, which contradicts: installed, version 2",
        ),
        ({"packages": ["database"]}, ("packages", 0, "database", "[key]"), "own record"),
        ({"packages": ["curl\n"]}, ("packages", 0, "curl\n", "[key]"), "not a package's name"),
        ({"packages": {"curl": None}}, ("packages",), "valid tuple"),
        ({"repositories": {"a.b": REPOSITORY}}, ("repositories", "a.b", "[key]"), "not a repos"),
        (_repository(uris=["shop"]), ("repositories", "shop", "uris", 0), "http:, https:"),
        (_repository(uris=["http://a\nb"]), ("repositories", "shop", "uris", 0), "http:, https:"),
        (
            _repository(uris=["https://me:pw@shop/x"]),
            ("repositories", "shop", "uris", 0),
            "a password has no place",
        ),
        (_repository(components=[]), ("repositories", "shop"), "components are missing"),
        (_repository(suites=["x/"]), ("repositories", "shop"), "an exact path"),
        (_repository(suites=[]), ("repositories", "shop"), "suites are missing"),
        (
            _repository(key=LabFile("k", b"-----BEGIN PGP PRIVATE KEY BLOCK-----")),
            ("repositories", "shop", "key"),
            "k is a private key",
        ),
        (
            _repository(key=LabFile("k", b"\x95\x01")),
            ("repositories", "shop", "key"),
            "k is a private key",
        ),
        (
            _repository(key=LabFile("k", b"<html>")),
            ("repositories", "shop", "key"),
            "k is not an OpenPGP key",
        ),
        (
            _repository(key=LabFile("k", PUBLIC), signed=False),
            ("repositories", "shop"),
            "goes without a key",
        ),
        (
            _repository(architectures=["amd 64"]),
            ("repositories", "shop", "architectures", 0),
            "not an architecture",
        ),
        (_ca(b"x"), ("certificate_authorities", "home"), "home.pem: it holds no certificates"),
        (_ca(CERTIFICATE * 2), ("certificate_authorities", "home"), "holds 2 certificates"),
        (
            _ca(CERTIFICATE.replace(b"AAAA", b"A*")),
            ("certificate_authorities", "home"),
            "damaged",
        ),
        (
            _ca(b"-----BEGIN PRIVATE KEY-----"),
            ("certificate_authorities", "home"),
            "holds a private key",
        ),
        (
            {"unattended_upgrades": {"reboot": "4:00"}},
            ("unattended_upgrades", "reboot"),
            "not a time",
        ),
        (
            {"unattended_upgrades": {"origins": ['x"; y']}},
            ("unattended_upgrades", "origins"),
            "not an origin",
        ),
        ({"unattended_upgrades": {"mail": "a b"}}, ("unattended_upgrades", "mail"), "not a mail"),
        ({"container_engine": "lxc"}, ("container_engine", "kind"), "podman"),
        (
            {"container_engine": {"kind": "podman", "daemon": {"a": 1}}},
            ("container_engine",),
            "no daemon",
        ),
        ({"node_exporter": {"listen": "9100"}}, ("node_exporter", "listen"), "like :9100"),
        ({"node_exporter": {"args": ['--x="y"']}}, ("node_exporter", "args"), "no blanks"),
        (
            {"node_exporter": {"collectors": ["a b"]}},
            ("node_exporter", "collectors"),
            "not a collector",
        ),
        (
            {"files": {"/a": {"content": "", "validate": "true"}}},
            ("files", "/a", "validate"),
            "%s",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(system, where, says):
    with pytest.raises(ValidationError) as caught:
        Document.model_validate({"system": system})
    (error,) = caught.value.errors()
    assert tuple(s for s in error["loc"] if s not in {"str", "bool"}) == ("system", *where)
    assert says in error["msg"]


def _spec(system: dict[str, Any]) -> Any:
    (part,) = planner.parts(Document.model_validate({"system": system}))
    return part.spec


def test_demands_of_one_package_add_up():
    packages = _spec(
        {"packages": ["nginx", {"nginx": {"version": "1*"}}, "curl", "nginx"]}
    ).packages
    assert packages == {"nginx": Package(version="1*"), "curl": Package()}
    assert list(packages) == ["nginx", "curl"]


def test_everything_survives_the_ledger_as_json():
    system = {
        "packages": ["curl", {"nginx": {"version": "1*", "hold": True}}, {"exim4": "absent"}],
        "users": {"ops": {"authorized_keys": {"exact": True, "keys": ["ssh-rsa AAAAx me"]}}},
        "repositories": {"shop": {**REPOSITORY, "key": LabFile("k", PUBLIC)}},
        "sudoers": {"ops": "ops ALL=(ALL) ALL"},
        "unattended_upgrades": True,
        "container_engine": "docker",
        "node_exporter": {"collectors": ["systemd"]},
    }
    spec = _spec(system)
    again = type(spec).model_validate_json(spec.model_dump_json())
    assert again.packages == spec.packages
    assert again.users == spec.users
    assert again.node_exporter == spec.node_exporter
    assert list(again.files) == list(spec.files)


def test_false_is_none_of_it():
    spec = _spec({"unattended_upgrades": False, "node_exporter": False})
    assert spec.packages == {}
    assert spec.files == {}


def test_every_clash_is_told_at_its_place():
    system = {
        "sudoers": {"ops": "x"},
        "files": {"/etc/sudoers.d/ops": {"content": ""}},
        "packages": [{"sudo": "absent"}],
        "container_engine": "docker",
        "services": {"docker": "running"},
    }
    with pytest.raises(ValidationError) as caught:
        planner.parts(Document.model_validate({"system": system}))
    assert {e["loc"]: e["msg"] for e in caught.value.errors()} == {
        ("system", "packages", "sudo"): "sudoers needs sudo installed, which contradicts what else"
        " is demanded of it",
        ("system", "files", "/etc/sudoers.d/ops"): "sudoers makes /etc/sudoers.d/ops under files:"
        " it cannot be declared here too",
        ("system", "services", "docker"): "container_engine makes docker under services:"
        " it cannot be declared here too",
    }


def test_contradictions():
    system = {
        "users": {
            "root": {"state": "absent"},
            "a": {"uid": 1001, "groups": ["games"]},
            "b": {"uid": 1001},
            "c": {"uid": 1001, "state": "absent"},
        },
        "groups": {"games": {"state": "absent"}},
        "sudoers": {"ops": {"template": LabFile("ops.j2", b"{{ host.nam }}")}},
    }
    (part,) = planner.parts(Document.model_validate({"system": system}))
    problems = dict(planner.check(Host("web1", "web", "box"), part))
    assert set(problems) == {
        ("system", "users", "root"),
        ("system", "users", "a", "groups", 0),
        ("system", "users", "b", "uid"),
        ("system", "sudoers"),
    }


def test_a_clash_is_told_by_validate_with_file_line_and_column(lab_dir):
    from lab import Lab
    from lab.errors import ConfigError

    root = lab_dir(
        {
            "lab.yaml": "name: t\nproviders: {box: {kind: memory}}\n",
            "personas/web.yaml": "purpose: x\nimage: {base: debian-13}\nsystem:\n"
            "  packages: [curl, {curl: absent}]\n"
            "  container_engine: docker\n",
            "personas/db.yaml": "purpose: x\nimage: {base: debian-13}\nsystem:\n"
            "  container_engine: docker\n"
            "  services:\n    docker: running\n",
            "inventory/hosts.yaml": "hosts:\n  a: {persona: web, provider: box}\n"
            "  b: {persona: db, provider: box}\n",
        }
    )
    with pytest.raises(ConfigError) as caught:
        Lab.load(root)
    assert [p.where for p in caught.value.problems] == [
        "personas/db.yaml:6:5",
        "personas/web.yaml:4:20",
    ]


@given(st.text())
def test_any_line_is_a_key_or_is_not(line):
    key = key_of(line)
    assert not key or " ".join(line.split()).startswith(key)
