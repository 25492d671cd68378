"""What is declared about the way to a host: mistakes in plain words, and keys that stay secret."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from lab.layer import Target
from lab.model.files import LabFile
from lab.model.host import Host
from lab.model.plan import to_json
from lab.model.secret import SecretName
from layers.l3_system import planner
from layers.l3_system.spec import Document, Inputs, Observed
from layers.l3_system.spec.firewall import tables

HOST = Host("web1", "web", "box")
PEER = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
KEY = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="


class Secrets:
    def reveal(self, name: str) -> str:
        return {"wg": KEY, "psk": PEER}[name]

    def fingerprint(self, name: str) -> str:
        return name

    def problem(self, name: str) -> None:
        return None


def _part(system: dict[str, Any], provider: str = "memory"):
    document = {"system": system, "provider": {"kind": provider}}
    parsed = Document.model_validate(document, context={"reader": None, "secrets": Secrets()})
    (part,) = planner.parts(parsed)
    return part


@pytest.mark.parametrize(
    ("system", "told"),
    [
        ({"guard": {"window": "2s"}}, "2s is no time to wait for a host"),
        ({"guard": {"window": "1h"}}, "10s to 10m"),
        ({"ssh_server": {"port": 0}}, "greater than or equal to 1"),
        ({"ssh_server": {"listen": "eth0"}}, "'eth0' is not an address"),
        ({"ssh_server": {"permit_root_login": "maybe"}}, "prohibit-password"),
        ({"firewall": {"allow": ["http"]}}, "write it like ssh, 80/tcp"),
        ({"firewall": {"allow": [80]}}, "write it like ssh, 80/tcp"),
        ({"firewall": {"allow": ["99999/tcp"]}}, "they go from 1 to 65535"),
        ({"firewall": {"allow": [{"port": "90-80"}]}}, "'90-80' is not a port"),
        ({"firewall": {"allow": [{"port": 1, "from": "10.0.0.1/8"}]}}, "is not a network"),
        ({"firewall": {"policy": "drop", "ruleset": {"content": ""}}}, "leave allow and policy"),
        ({"firewall": {"ruleset": {}}}, "give exactly one of"),
        ({"network": {"interfaces": {"a" * 16: {}}}}, "at most 15"),
        ({"network": {"interfaces": {"eth0": {"address": "10.0.0.5"}}}}, "needs its prefix"),
        ({"network": {"interfaces": {"eth0": {"address": "10.0.0.0/24"}}}}, "network itself"),
        ({"network": {"interfaces": {"eth0": {"address": "10.0.0.500/24"}}}}, "not an address"),
        (
            {"network": {"interfaces": {"e": {"address": "10.0.0.5/24", "gateway": "10.0.1.1"}}}},
            "the gateway 10.0.1.1 is in none of the networks (10.0.0.5/24)",
        ),
        ({"network": {"interfaces": {"v": {"vlan": {"id": 5, "link": "e"}}}}}, "declare e too"),
        ({"network": {"interfaces": {"v": {"vlan": {"id": 5000, "link": "e"}}}}}, "4094"),
        (
            {"network": {"interfaces": {"b": {"bridge": ["e"]}, "e": {"dhcp": True}}}},
            "e is a port of b",
        ),
        (
            {"network": {"interfaces": {"b": {"bridge": ["e"]}, "c": {"bridge": ["e"]}}}},
            "e is a port of both b and c",
        ),
        ({"wireguard": {"wg0": {"address": "10.0.0.1/24", "private_key": KEY}}}, "secret"),
        (
            {"wireguard": {"wg0": {"address": "10.0.0.1/24", "peers": [{"public_key": "abc"}]}}},
            "not a key of WireGuard",
        ),
    ],
)
def test_mistakes_are_told_in_plain_words(system, told):
    with pytest.raises(ValidationError) as caught:
        _part(system)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("system", "provider", "where"),
    [
        ({"ssh_server": {"port": 2222}}, "qemu", ("ssh_server", "port")),
        ({"ssh_server": {"port": [22, 2222]}}, "qemu", None),
        ({"ssh_server": {"port": 2222}}, "existing", None),
        ({"services": {"ssh": "stopped"}}, "", ("services", "ssh")),
        ({"services": {"sshd": {"state": "running", "enabled": False}}}, "", ("services", "sshd")),
        ({"services": {"ssh": "stopped", "ssh.socket": "running"}}, "", None),
        (
            {"firewall": {"ruleset": {"content": "flush ruleset\ntable inet a {}"}}},
            "",
            ("firewall", "ruleset"),
        ),
        ({"firewall": {"ruleset": {"content": "# table inet a"}}}, "", ("firewall", "ruleset")),
        (
            {
                "wireguard": {"wg0": {"address": "10.0.0.1/24"}},
                "network": {"interfaces": {"wg0": None}},
            },
            "",
            ("wireguard", "wg0"),
        ),
    ],
)
def test_what_would_lock_us_out_is_told_with_its_place(system, provider, where):
    problems = dict(planner.check(HOST, _part(system, provider)))
    assert list(problems) == ([] if where is None else [("system", *where)])


def test_the_tables_of_a_ruleset():
    rules = "table inet a {\n}\nadd table ip6 b\n  table c { chain x { } }\n# table inet no\n"
    assert tables(rules) == ("inet a", "ip6 b", "ip c")


def test_a_ruleset_replaces_its_own_tables_and_no_others():
    rules = LabFile("rules.nft", b"table inet mine {\n}\n")
    part = _part({"firewall": {"ruleset": {"source": rules}}})
    wanted = planner.wanted(Target(HOST, part.spec, Inputs()))["firewall"]["nftables"]
    assert wanted.content.decode().splitlines()[2:4] == [
        "table inet mine",
        "delete table inet mine",
    ]


def test_keys_that_are_secrets_stand_in_no_plan():
    tunnel = {
        "address": "10.0.0.1/24",
        "private_key": SecretName("wg"),
        "peers": [
            {"public_key": PEER, "allowed_ips": "10.0.0.2/32", "preshared_key": SecretName("psk")}
        ],
    }
    part = _part({"wireguard": {"wg0": tunnel}})
    plan = planner.plan(Target(HOST, part.spec, Inputs()), Observed(), frozenset())
    change = plan.change("wireguard wg0")
    assert change is not None
    assert [(f.field, f.secret) for f in change.fields] == [
        ("preshared_key 0", True),
        ("private_key", True),
    ]
    assert KEY not in str(to_json(plan))
    assert KEY not in part.spec.model_dump_json()
    from layers.l3_system.kinds import wireguard

    wanted = planner.wanted(Target(HOST, part.spec, Inputs()))["wireguard"]
    (step,) = wireguard.steps([change], wanted)
    assert KEY not in step.script
    assert step.stdin == f"{KEY}\n{PEER}\n".encode()


def test_a_plan_says_what_is_guarded_once_it_knows_who_logs_in():
    part = _part({"users": {"ops": {"shell": "/bin/false"}}})
    things = {"user": {"ops": {"fields": {"shell": "/bin/bash", "groups": [], "home": "/srv/o"}}}}
    observed = Observed.model_validate({"things": things})
    target = Target(HOST, part.spec, Inputs(user="ops"))
    change = planner.plan(target, observed, frozenset()).change("user ops")
    other = replace(target, inputs=Inputs(user="root"))
    assert change is not None
    assert change.guarded
    change = planner.plan(other, observed, frozenset()).change("user ops")
    assert change is not None
    assert not change.guarded


def test_public_keys_of_tunnels_are_handed_up():
    part = _part({"wireguard": {"wg0": {"address": "10.0.0.1/24"}}})
    things = {"wireguard": {"wg0": {"fields": {"private_key": "x"}, "facts": {"public_key": PEER}}}}
    observed = Observed.model_validate({"things": things})
    target = Target(HOST, part.spec, Inputs())
    assert planner.outputs(target, observed).wireguard == {"wg0": PEER}
