from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from lab.model.files import LabFile
from layers.l2_instantiate.machines import Machine
from layers.l2_instantiate.spec import Document, Spec

DISKS = {"root": {"size": "8GiB"}}
GOOD: dict[str, Any] = {"memory": "1GiB", "disks": DISKS}


def problems(machine: dict[str, Any], provider: dict[str, Any] | None = None) -> dict[Any, str]:
    document = {"provider": provider or {"kind": "qemu"}, "machine": machine}
    with pytest.raises(ValidationError) as caught:
        Document.model_validate(document)
    return {_without_variant(e["loc"]): e["msg"] for e in caught.value.errors()}


def _without_variant(loc: tuple[Any, ...]) -> tuple[Any, ...]:
    """Which model of a provider or machine was tried is no part of the user's file."""
    return (loc[0], *loc[2:]) if loc[0] in {"provider", "machine"} else loc


@pytest.mark.parametrize(
    ("machine", "where", "says"),
    [
        ({"memory": 1}, ("machine", "memory"), "a size needs its unit"),
        ({"memory": "64MiB"}, ("machine", "memory"), "too little to boot"),
        ({"memory": "1GB"}, ("machine", "memory"), "write 953MiB"),
        ({"disks": {}}, ("machine", "disks"), "needs a disk named root"),
        ({"disks": {**DISKS, "a b": {"size": "1GiB"}}}, ("machine", "disks"), "'a b' cannot be"),
        ({"disks": {**DISKS, "seed": {"size": "1GiB"}}}, ("machine", "disks"), "not 'seed'"),
        (
            {"disks": {"root": {"size": "8GiB", "durable": True}}},
            ("machine", "disks"),
            "root is rebuilt from the image",
        ),
        (
            {"disks": {**DISKS, **{n: {"size": "1GiB", "mount": "/srv"} for n in "ab"}}},
            ("machine", "disks"),
            "a and b are both mounted at /srv",
        ),
        (
            {"disks": {**DISKS, "a": {"size": "1GiB", "mount": "srv"}}},
            ("machine", "disks", "a", "mount"),
            "leading /",
        ),
        ({"ports": {"a": 1}}, ("machine", "ports", "a"), "write 18080:8080"),
        ({"ports": {80: 99999}}, ("machine", "ports", 80), "from 1 to 65535"),
        ({"ports": ["80:80", "80:81"]}, ("machine", "ports", 1), "tcp port 80 is forwarded twice"),
        ({"ports": ["80:80", "0.0.0.0:80:81"]}, ("machine", "ports", 1), "forwarded twice"),
        ({"ports": [3233]}, ("machine", "ports", 0), "put it in quotes"),
        ({"ports": ["1:1/sctp"]}, ("machine", "ports", 0), "write tcp or udp"),
        ({"ports": ["999.1.1.1:1:1"]}, ("machine", "ports", 0), "not an IPv4 address"),
        ({"ports": 80}, ("machine", "ports"), "a mapping like {18080: 8080}"),
        ({"login": {"user": "root"}}, ("machine", "login", "user"), "not root"),
        ({"cpus": 2}, ("machine", "cpus"), "Extra inputs"),
    ],
)
def test_each_mistake_is_told_where_it_is(
    machine: dict[str, Any], where: tuple[Any, ...], says: str
) -> None:
    found = problems(GOOD | machine)
    assert list(found) == [where]
    assert says in found[where]


def test_unknown_provider_kinds_are_told_with_the_known_ones() -> None:
    found = problems(GOOD, {"kind": "dockr"})
    assert found == {
        ("provider", "kind"): "Value error, no provider of the kind 'dockr'; "
        "known are: docker, existing, memory, proxmox, qemu"
    }
    assert ("provider", "url") in problems(GOOD, {"kind": "qemu", "url": "x"})
    assert ("provider",) in problems(GOOD, {"kind": "memory", "accelerator": "kvm"})
    assert ("provider",) in problems(GOOD, {"kind": "qemu", "host": "unix:///run/docker.sock"})


@pytest.mark.parametrize("host", ["tcp://10.0.0.1:2375", "ssh://box", "/var/run/docker.sock"])
def test_an_engine_elsewhere_is_refused(host: str) -> None:
    found = problems(GOOD, {"kind": "docker", "host": host})
    assert "is not an engine on this machine" in found["provider", "host"]


def test_a_private_key_is_not_handed_out() -> None:
    key = LabFile("keys/me", b"-----BEGIN OPENSSH PRIVATE KEY-----\n")
    found = problems(GOOD | {"login": {"authorized_keys": [key]}})
    assert "keys/me is a private key" in found["machine", "login", "authorized_keys"]


def test_comments_and_blank_lines_of_key_files_are_not_keys() -> None:
    key = LabFile("k.pub", b"# mine\n\nssh-ed25519 AAAA me\n")
    machine = Machine.model_validate(GOOD | {"login": {"authorized_keys": [key]}})
    assert machine.login.key_lines == ("ssh-ed25519 AAAA me",)


@pytest.mark.parametrize("ports", [{18080: 8080, "127.0.0.1:5353": "53/udp"}, ["1:1", "2:2/udp"]])
def test_the_ledger_reads_back_what_it_kept(ports: Any) -> None:
    spec = Spec(machine=Machine.model_validate(GOOD | {"ports": ports}))
    assert Spec.model_validate_json(spec.model_dump_json()) == spec
