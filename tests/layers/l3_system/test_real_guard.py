"""The dead man's timer on real hosts: whatever cuts us off is undone, and says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.clients import shell
from lab.errors import DriverError, Reverted
from lab.layer import Target, Workspace
from lab.model.host import Host
from lab.model.plan import Plan
from layers.l3_system import planner
from layers.l3_system.drivers import reach
from layers.l3_system.drivers.native import NativeDriver
from layers.l3_system.spec import Document, Inputs

pytestmark = pytest.mark.engine
WINDOW = 10
LONGEST = 120

# Everything that a change of this file's tests could leave behind.
SNAPSHOT = """cd /
find etc home root var/lib/strata -xdev ! -path etc/hosts -printf '%p %y %m %u %g %l\\n' | sort
find etc home root var/lib/strata -xdev -type f ! -path etc/hosts | sort | xargs sha256sum
nft -s list ruleset; iptables-save | grep -v '^#'
ip -o addr show scope global | sed 's/valid_lft.*//'; ip route; ip -o link | sed 's/qlen.*//'
systemctl is-active ssh nftables systemd-networkd; systemctl is-enabled ssh nftables
ls /run | grep strata; systemctl list-units --all --no-legend 'strata*'
true"""


class Runner:
    """Plans and applies a system on one host, as the engine would."""

    def __init__(self, folder: Path, host: Any) -> None:
        self.host = host
        self.told: list[str] = []
        self.done: list[str] = []
        self.report: Callable[[str], None] = self.told.append
        self.workspace = Workspace("t", folder, folder / "s", folder / "c", folder / "r")
        self.driver = NativeDriver(self.workspace)

    def target(self, system: dict[str, Any]) -> Target[Any, Any]:
        system = {"hostname": self.host.name, "guard": {"window": f"{WINDOW}s"}, **system}
        (part,) = planner.parts(Document.model_validate({"system": system}))
        inputs = Inputs(
            address=self.host.address,
            port=self.host.port,
            user=self.host.user,
            host_key=self.host.host_key,
            identity_file=self.host.identity_file,
        )
        name = Host(self.host.name, "web", "box")
        return Target(name, part.spec, inputs, report=lambda doing, *_: self.report(doing))

    def plan(self, system: dict[str, Any]) -> Plan:
        target = self.target(system)
        return planner.plan(target, self.driver.observe(target), frozenset())

    def converge(self, system: dict[str, Any]) -> Plan:
        target, plan = self.target(system), self.plan(system)
        assert not plan.blockers
        self.apply(target, plan)
        return plan

    def apply(self, target: Target[Any, Any], plan: Plan) -> None:
        self.done.clear()
        self.driver.apply_batch(
            target, plan.changes, lambda c: None, lambda c: self.done.append(c.what)
        )


@pytest.fixture(scope="module")
def host(sandbox, tmp_path_factory) -> Iterator[Any]:
    """One host for all: each test must leave it as it was."""
    made = sandbox.host("guarded")
    made.run("systemctl unmask systemd-networkd; systemctl stop apt-daily.timer || true")
    first = Runner(tmp_path_factory.mktemp("first"), made)
    for system in ({"ssh_server": {}}, {}):  # our own folders are there from now on
        first.converge(system)
    first.workspace.close()
    yield made
    made.remove()


@pytest.fixture
def runner(host, tmp_path) -> Iterator[Runner]:
    made = Runner(tmp_path, host)
    made.converge({})
    made.done.clear()
    yield made
    made.workspace.close()


def _file(path: str, content: str, **more: str) -> dict[str, Any]:
    return {"files": {path: {"content": content, **more}}}


def _wrong_way(host) -> dict[str, Any]:
    """Its own address, and a way back that leads nowhere."""
    address = host.run("ip -o -4 addr show eth0").split()[3].split("/")[0]
    text = (
        f"[Match]\nName=eth0\n[Network]\nAddress={address}/32\n"
        "[Route]\nGateway=192.0.2.9\nGatewayOnLink=yes\n"
    )
    return {
        **_file("/etc/systemd/network/01-eth0.network", text),
        "services": {"systemd-networkd": "running"},
    }


CUTS: dict[str, tuple[Callable[[Any], dict[str, Any]], list[str]]] = {
    "sshd refuses us": (
        lambda _: {"ssh_server": {"allow_users": ["nobody"]}},
        ["file /etc/ssh/sshd_config.d/10-strata.conf", "service ssh.service"],
    ),
    "sshd listens elsewhere": (
        lambda _: {"ssh_server": {"port": 2222}},
        ["file /etc/ssh/sshd_config.d/10-strata.conf", "service ssh.service"],
    ),
    "the firewall drops us": (
        lambda _: {
            "firewall": {
                "ruleset": {
                    "content": "table inet mine {\n chain input {\n  type filter hook input "
                    "priority 0; policy drop;\n  ct state established accept;\n }\n}\n"
                }
            }
        },
        ["firewall nftables"],
    ),
    "sudo asks for a password": (
        lambda _: _file("/etc/sudoers.d/zz", "strata ALL=(ALL) PASSWD: ALL\n", mode="0440"),
        ["file /etc/sudoers.d/zz"],
    ),
    "our keys are gone": (
        lambda _: _file(
            "/home/strata/.ssh/authorized_keys",
            "",
            mode="0600",
            owner="strata",
            group="strata",
        ),
        ["file /home/strata/.ssh/authorized_keys"],
    ),
    "our home is open to all": (
        lambda _: {"directories": {"/home/strata": {"mode": "0777", "owner": "strata"}}},
        ["directory /home/strata"],
    ),
    "our shell is no shell": (
        lambda _: {"users": {"strata": {"shell": "/bin/false"}}},
        ["user strata"],
    ),
    "another address": (
        lambda _: {"network": {"interfaces": {"eth0": {"address": "192.0.2.7/24"}}}},
        ["file /etc/systemd/network/05-strata-eth0.network", "service systemd-networkd.service"],
    ),
    "a wrong way back": (
        _wrong_way,
        ["file /etc/systemd/network/01-eth0.network", "service systemd-networkd.service"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS)
def test_what_cuts_us_off_is_reverted(runner, cut, record_property):
    declared, changed = CUTS[cut]
    system = declared(runner.host)
    before = runner.host.run(SNAPSHOT)
    began = time.monotonic()
    with pytest.raises(Reverted, match=r"it cut us off .* reachable again") as caught:
        runner.converge(system)
    took = time.monotonic() - began
    record_property("seconds", round(took, 1))
    assert took < LONGEST
    assert caught.value.hint.endswith(f"lab plan l3 host={runner.host.name}")
    assert runner.done == []
    assert runner.host.run(SNAPSHOT) == before
    again = runner.plan(system)
    assert [c.what for c in again.changes] == changed
    assert all(c.guarded for c in again.changes)


def test_a_good_change_is_confirmed_and_leaves_nothing_behind(runner):
    before = runner.host.run(SNAPSHOT).splitlines()
    system = {"ssh_server": {"password_authentication": False, "options": {"MaxAuthTries": 4}}}
    plan = runner.converge(system)
    assert runner.done == [c.what for c in plan.changes]
    assert not runner.plan(system)
    assert "maxauthtries 4" in runner.host.run("sshd -T")
    mine = [line for line in runner.host.run(SNAPSHOT).splitlines() if line not in before]
    assert {line.split()[-1] if "/" in line.split()[-1] else line.split()[0] for line in mine} == {
        "etc/ssh/sshd_config.d/10-strata.conf",
        "var/lib/strata/owned",
    }
    runner.converge({})
    assert "maxauthtries 6" in runner.host.run("sshd -T")
    assert runner.host.run(SNAPSHOT).splitlines() == before


@pytest.mark.slow
def test_sshd_behind_a_socket_is_told_and_put_back_too(runner):
    runner.host.run("systemctl disable --now ssh.service; systemctl enable --now ssh.socket")
    try:
        good = _file("/etc/ssh/sshd_config.d/05-a.conf", "MaxAuthTries 4\n")
        runner.converge(good)
        before = runner.host.run(SNAPSHOT)
        bad = _file("/etc/systemd/system/ssh.socket.d/a.conf", "[Socket]\nListenStream=\n"
                    "ListenStream=2222\n")  # fmt: skip
        bad["files"] |= good["files"]
        with pytest.raises(Reverted, match="it cut us off"):
            runner.converge(bad)
        assert runner.host.run(SNAPSHOT) == before
        assert not runner.plan(good)
        runner.converge({})
    finally:
        runner.host.run(
            "systemctl disable --now ssh.socket; systemctl stop ssh.service\n"
            "systemctl enable --now ssh.service"
        )


@pytest.mark.parametrize(
    ("system", "cause"),
    [
        ({"ssh_server": {"options": {"Garbage": True}}}, "bad configuration option"),
        (_file("/etc/sudoers.d/zz", "garbage\n"), "sudo cannot read its rules"),
        ({"firewall": {"ruleset": {"content": "table inet x { bla }"}}}, "refuses the ruleset"),
        ({"services": {"wg-quick@no": "running"}}, "no.service|not be found|does not start"),
    ],
    ids=["sshd", "sudo", "nft", "a service"],
)
def test_what_fails_is_put_back_at_once(runner, system, cause):
    before = runner.host.run(SNAPSHOT)
    began = time.monotonic()
    with pytest.raises(DriverError, match=f"(?i){cause}") as caught:
        runner.converge(system)
    assert not isinstance(caught.value, Reverted)
    assert time.monotonic() - began < WINDOW
    assert runner.done == []
    assert runner.host.run(SNAPSHOT) == before


@pytest.mark.parametrize("what", ["read-only", "full"])
def test_what_cannot_be_guarded_is_not_tried(runner, what):
    system = {"ssh_server": {"options": {"MaxAuthTries": 3}}}
    target, plan = runner.target(system), runner.plan(system)
    runner.host.run(
        "set -e; mkdir -p /var/lib/strata; cp -a /var/lib/strata /root/strata\n"
        "mount -t tmpfs -o size=48k tmpfs /var/lib/strata; cp -a /root/strata/. /var/lib/strata\n"
        + (
            "mount -o remount,ro /var/lib/strata"
            if what == "read-only"
            else "head -c 1M /dev/zero >/var/lib/strata/fill 2>/dev/null || true"
        )
    )
    try:
        before = runner.host.run("find /etc -xdev -type f | sort | xargs sha256sum")
        with pytest.raises(DriverError, match=r"Unable to guard .*: ") as caught:
            runner.apply(target, plan)
        assert "nothing was changed" in caught.value.hint
        assert runner.done == []
        assert runner.host.run("find /etc -xdev -type f | sort | xargs sha256sum") == before
    finally:
        runner.host.run("umount /var/lib/strata; rm -rf /root/strata")
    assert runner.plan(system).changes == plan.changes


@pytest.mark.parametrize(("tool", "doing"), [("stat", "look at the system"), ("tar", "guard")])
def test_a_missing_tool_is_named_before_anything_is_done(runner, tool, doing):
    system = {"ssh_server": {"options": {"MaxAuthTries": 3}}}
    target, plan = runner.target(system), runner.plan(system)

    def look_and_apply() -> None:
        runner.driver.observe(target)
        runner.apply(target, plan)

    runner.host.run(f"mv /usr/bin/{tool} /root/{tool}")
    try:
        with pytest.raises(DriverError, match=f"Unable to {doing} .*: it has no {tool}"):
            look_and_apply()
    finally:
        runner.host.run(f"mv /root/{tool} /usr/bin/{tool}")
    assert runner.done == []


def test_two_runs_do_not_try_at_once(runner, tmp_path):
    system = {"ssh_server": {"options": {"MaxAuthTries": 3}}}
    target, plan = runner.target(system), runner.plan(system)
    runner.host.run(
        "mkdir -p -m 700 /var/lib/strata/guard; read -r up rest </proc/uptime\n"
        'echo "$((${up%.*} + 30)) $(cat /proc/sys/kernel/random/boot_id)"'
        " >/var/lib/strata/guard/until"
    )
    try:
        with pytest.raises(DriverError, match="a change of another run is being tried there"):
            runner.apply(target, plan)
    finally:
        runner.host.run("rm -rf /var/lib/strata/guard /var/lib/strata/guard.lock")


def test_the_host_goes_on_when_the_connection_breaks_half_way(runner):
    runner.host.run(
        "printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=sleep 3\\n"
        "[Install]\\nWantedBy=multi-user.target\\n'"
        " >/etc/systemd/system/wg-quick@slow.service; systemctl daemon-reload"
    )
    system = {"services": {"wg-quick@slow": "running"}}
    pool = runner.workspace.resource(shell.shells)

    def cut() -> None:
        endpoint = reach.endpoint(runner.target(system))
        pool.to(endpoint)._sessions[True]._process.kill()

    cuts = iter([threading.Timer(1, cut)])  # once, the later runs go through
    runner.report = lambda doing: (
        next(cuts, threading.Timer(0, int)).start() if doing.startswith("tries") else None
    )
    runner.converge(system)
    assert runner.done == ["service wg-quick@slow.service"]
    assert not runner.plan(system)
    runner.converge({})
    runner.host.run("rm /etc/systemd/system/wg-quick@slow.service; systemctl daemon-reload")


KILLED = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
sys.path.insert(0, sys.argv[3])
from test_real_guard import Runner
runner = Runner(Path(sys.argv[2]), SimpleNamespace(**json.loads(sys.argv[1])))
runner.converge(json.loads(sys.argv[4]))
"""


def _killed_at(point: str, runner: Runner, system: dict[str, Any], folder: Path) -> None:
    names = ("name", "address", "port", "user", "host_key", "identity_file")
    host = json.dumps({n: getattr(runner.host, n) for n in names})
    argv = [sys.executable, "-c", KILLED, host, str(folder), str(Path(__file__).parent)]
    done = subprocess.run(
        [*argv, json.dumps(system)], env={**os.environ, "STRATA_FAULT": point}, check=False
    )
    assert done.returncode == -9


@pytest.mark.slow
@pytest.mark.parametrize("point", ["l3.guard.after_arm", "l3.guard.before_confirm"])
def test_a_runner_that_is_killed_leaves_the_host_as_it_was(runner, point, tmp_path):
    before = runner.host.run(SNAPSHOT)
    system = {"ssh_server": {"options": {"MaxAuthTries": 3}}}
    _killed_at(point, runner, system, tmp_path / "killed")
    began = time.monotonic()
    plan = runner.plan(system)
    assert time.monotonic() - began < WINDOW + 10
    assert any(told.startswith("waits for a change of another run") for told in runner.told)
    assert [c.what for c in plan.changes] == [
        "file /etc/ssh/sshd_config.d/10-strata.conf",
        "service ssh.service",
    ]
    assert "reverted" in runner.host.run("ls /var/lib/strata")
    runner.host.run("rm /var/lib/strata/reverted")
    assert runner.host.run(SNAPSHOT) == before
    runner.converge(system)
    assert not runner.plan(system)
    runner.converge({})


@pytest.mark.slow
def test_a_power_cut_before_the_confirmation_reverts_at_boot(runner, tmp_path, record_property):
    found = "find etc home var/lib/strata -xdev -type f ! -path 'etc/hos*'"
    files = f"cd /; {found} | sort | xargs sha256sum"
    before = runner.host.run(files)
    system = {"guard": {"window": "5m"}, "ssh_server": {"allow_users": ["nobody"]}}
    _killed_at("l3.guard.before_confirm", runner, system, tmp_path / "killed")
    assert "AllowUsers nobody" in runner.host.run("cat /etc/ssh/sshd_config.d/10-strata.conf")
    runner.host.kill()
    began = time.monotonic()
    runner.host.start()
    plan = runner.plan(system)
    record_property("seconds", round(time.monotonic() - began, 1))
    assert plan.changes
    runner.host.run("rm /var/lib/strata/reverted")
    assert runner.host.run(files) == before
    assert runner.host.run("ls /etc/systemd/system/*.wants | grep strata || true") == ""


def test_rules_that_somebody_changed_are_named_and_mended_and_others_stay(runner):
    system = {"firewall": {"allow": ["80/tcp", {"port": 53, "proto": "udp", "from": "10.0.0.0/8"}]}}
    runner.converge(system)
    runner.host.run("nft add table ip theirs; nft add rule inet strata input tcp dport 9 accept")
    for damage in ("true", "nft delete table inet strata"):
        runner.host.run(damage)
        plan = runner.converge(system)
        assert [f.field for c in plan.changes for f in c.fields] == ["loaded"]
        assert not runner.plan(system)
    rules = runner.host.run("nft list ruleset")
    assert "table ip theirs" in rules
    assert "dport 9 " not in rules
    assert "tcp dport 80 accept" in rules
    runner.converge({})
    rules = runner.host.run("nft list ruleset; cat /etc/nftables.conf")
    assert "strata" not in rules
    runner.host.run("nft delete table ip theirs")


@pytest.mark.slow
def test_interfaces_are_set_up_and_taken_down(runner):
    runner.host.run("ip link add ve0 type veth peer name ve1")
    bridge = {"bridge": ["ve1"], "address": "10.8.0.1/24"}
    first = {"interfaces": {"ve0": {"address": "10.9.0.2/24", "mtu": 1400}, "br0": bridge}}
    runner.converge({"network": first})
    assert not runner.plan({"network": first})
    assert "mtu 1400" in runner.host.run("ip link show ve0")
    assert "10.9.0.2/24" in runner.host.run("ip addr show ve0")
    assert "master br0" in runner.host.run("ip link show ve1")
    second = {"interfaces": {"ve0": {"address": "10.9.0.3/24"}}}
    runner.converge({"network": second})
    assert "10.9.0.3/24" in runner.host.run("ip addr show ve0")
    assert "10.9.0.2/24" not in runner.host.run("ip addr show ve0")
    assert "br0" not in runner.host.run("ip -br link")
    runner.converge({})
    runner.host.run("ip link del ve0")
