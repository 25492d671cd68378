"""Accounts and software on real hosts: made, looked at again, broken by hand, mended, pruned."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab.errors import DriverError
from lab.layer import Target, Workspace
from lab.model.files import LabFile
from lab.model.host import Host
from lab.model.plan import Change, Plan
from lab.model.secret import SecretName
from layers.l3_system import planner
from layers.l3_system.drivers.native import NativeDriver
from layers.l3_system.spec import Document, Inputs

pytestmark = [pytest.mark.engine, pytest.mark.slow]

HASH = "$6$saltsalt$" + "a" * 86
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEGoMRpb1iluNtqVGuWt"
_SHOP = """set -e
mkdir -p /srv/shop; cd /srv/shop
make() { # NAME VERSION DEPENDS MAINTAINER-SCRIPT BODY
  rm -rf t; mkdir -p t/DEBIAN t/usr/share/$1; echo $2 >t/usr/share/$1/version
  printf '%s\\n' "Package: $1" "Version: $2" 'Architecture: all' 'Maintainer: x <x@x>' \\
    'Description: x' ${3:+"Depends: $3"} >t/DEBIAN/control
  [ -z "$4" ] || { printf '#!/bin/sh\\n%s\\n' "$5" >t/DEBIAN/$4; chmod 755 t/DEBIAN/$4; }
  dpkg-deb -b t "$1_$2.deb" >/dev/null
}
"""
_INDEX = """
for f in *.deb; do dpkg-deb -f $f; printf 'Filename: ./%s\\nSize: %s\\nSHA256: %s\\n\\n' \\
  $f $(stat -c %s $f) $(sha256sum $f | cut -d' ' -f1); done >Packages
"""
SHOP = {"shop": {"uris": ["file:/srv/shop"], "suites": ["./"], "signed": False}}


class Vault:
    def reveal(self, name: str) -> str:
        return HASH

    def fingerprint(self, name: str) -> str:
        return name

    def problem(self, name: str) -> None:
        return None


class Trial:
    """One host, and what happened to it."""

    def __init__(self, host: Any, driver: NativeDriver) -> None:
        self.host, self.driver = host, driver
        self.reports: list[str] = []

    def target(self, system: dict[str, Any]) -> Target[Any, Any]:
        document = {"system": {"hostname": "trial", **system}}
        (part,) = planner.parts(Document.model_validate(document, context={"secrets": Vault()}))
        h = self.host
        inputs = Inputs(
            address=h.address,
            port=h.port,
            user=h.user,
            host_key=h.host_key,
            identity_file=str(h.identity_file),
        )
        host = Host("trial", "web", "box")
        assert planner.check(host, part) == ()
        return Target(host, part.spec, inputs, report=lambda doing, *_: self.reports.append(doing))

    def plan(self, system: dict[str, Any]) -> Plan:
        target = self.target(system)
        return planner.plan(target, self.driver.observe(target), frozenset())

    def converge(self, system: dict[str, Any]) -> list[str]:
        """Apply the plan; the second one must be empty. Gives what was done."""
        target = self.target(system)
        plan = planner.plan(target, self.driver.observe(target), frozenset())
        assert not plan.blockers
        done: list[Change] = []
        self.driver.apply_batch(target, plan.changes, lambda _: None, done.append)
        assert done == list(plan.changes)
        again = planner.plan(target, self.driver.observe(target), frozenset())
        assert not again, [(c.what, c.fields) for c in again.changes]
        return shown(plan)

    def run(self, script: str) -> str:
        return str(self.host.run(script)).strip()

    def stock(self, *packages: tuple[str, ...]) -> None:
        """Fill the repository /srv/shop: name, version, depends, maintainer script and its body."""
        makes = "".join("make " + " ".join(f"'{w}'" for w in p) + "\n" for p in packages)
        self.run(_SHOP + makes + "rm -rf t" + _INDEX)


def shown(plan: Plan) -> list[str]:
    return [f"{c.action.sign} {c.what}" for c in plan.changes if not c.what.startswith("hostname")]


def fields(plan: Plan, what: str) -> dict[str, tuple[Any, Any]]:
    change = plan.change(what)
    assert change is not None
    return {f.field: (f.before, f.after) for f in change.fields}


@pytest.fixture
def trial(sandbox, tmp_path, request) -> Iterator[Callable[[], Trial]]:
    workspace = Workspace("t", tmp_path, tmp_path / "s", tmp_path / "c", tmp_path / "r")
    host = sandbox.host(request.node.name.removeprefix("test_").replace("_", "-")[:30].strip("-"))
    try:
        yield Trial(host, NativeDriver(workspace))
    finally:
        workspace.close()
        host.remove()


def test_versions_holds_and_absence(trial):
    trial.stock(("tea", "1.0"), ("tea", "1.1"), ("tea", "2.0"), ("cup", "1"), ("pot", "1", "cup"))
    trial.run("apt-get -qq install /srv/shop/cup_1.deb 2>&1")
    declared = {
        "repositories": SHOP,
        "packages": [{"tea": {"version": "1.*", "hold": True}}, {"cup": "absent"}],
    }
    assert trial.converge(declared) == ["+ repository shop", "+ package tea", "- package cup"]
    assert trial.run("dpkg-query -W -f '${Version} ${db:Status-Want}' tea") == "1.1 hold"
    assert trial.run("dpkg-query -W -f '${Status}' cup || :") == ""

    trial.run("apt-mark -qq unhold tea; apt-get -qq install tea=2.0 2>&1")
    drifted = fields(trial.plan(declared), "package tea")
    assert drifted == {"version": ("2.0", "1.*"), "hold": (False, True)}
    assert trial.converge(declared) == ["~ package tea"]
    assert trial.run("dpkg-query -W -f '${Version} ${db:Status-Want}' tea") == "1.1 hold"

    # one transaction: what goes and what comes, and what still needs a thing keeps it
    assert trial.converge({"repositories": SHOP, "packages": ["pot", {"cup": {"hold": True}}]}) == [
        "- package tea",
        "+ package pot",
        "+ package cup",
    ]
    assert trial.converge({"repositories": SHOP, "packages": ["pot"]}) == ["- package cup"]
    assert trial.run("dpkg-query -W -f '${db:Status-Abbrev}' cup") == "ii"
    assert trial.run("apt-mark showauto cup") == "cup"
    assert trial.converge({}) == ["- package pot", "- repository shop"]
    assert trial.run("dpkg -l pot tea 2>/dev/null | grep ^ii || :; cat /var/lib/strata/owned") == ""


def test_only_debians_own_look_for_questions_is_left_out(trial):
    trial.stock(("tea", "1.0"), ("cup", "1"))
    hook = "/usr/sbin/dpkg-preconfigure"
    trial.run(f"mv {hook} {hook}.real; printf '#!/bin/sh\ntouch /asked\n' >{hook}; chmod +x {hook}")
    trial.converge({"repositories": SHOP, "packages": ["tea"]})
    assert trial.run("ls /asked 2>/dev/null || :") == ""

    own = 'DPkg::Pre-Install-Pkgs {"touch /mine";};'
    trial.run(f"printf '%s\n' '{own}' >/etc/apt/apt.conf.d/99own")
    trial.converge({"repositories": SHOP, "packages": ["tea", "cup"]})
    assert trial.run("ls /asked /mine") == "/asked\n/mine"


def test_apt_is_shown_what_can_matter_and_all_where_that_does_not_suffice(trial):
    trial.stock(
        ("well", "1", "dpkg\nProvides: water"),
        ("cup", "1"),
        ("tea", "1", "water, no-such-glass | cup (>= 1)"),
        ("base", "1"),
        ("base", "2", "fresh"),
        ("fresh", "1"),
        ("cake", "1", "base (>= 2)"),
    )
    trial.run("apt-get -qq install /srv/shop/base_1.deb 2>&1")
    last = "grep ^Commandline: /var/log/apt/history.log | tail -1"
    trial.converge({"repositories": SHOP, "packages": ["tea"]})
    assert "narrow" in trial.run(last)
    assert trial.run("apt-mark showauto cup well tea") == "cup\nwell"
    # what is installed already must come anew, and then needs something that nobody looked for
    trial.converge({"repositories": SHOP, "packages": ["tea", "cake"]})
    assert "narrow" not in trial.run(last)
    assert trial.run("dpkg-query -W -f '${Package}=${Version} ' base fresh cake") == (
        "base=2 cake=1 fresh=1"
    )
    assert trial.run("ls /var/lib/strata/narrow 2>/dev/null || :") == ""


def test_nothing_goes_that_nobody_asked_for(trial):
    trial.stock(("cup", "1"), ("pot", "1", "cup"))
    trial.run("apt-get -qq install /srv/shop/cup_1.deb /srv/shop/pot_1.deb 2>&1")
    with pytest.raises(DriverError, match="would remove pot too"):
        trial.converge({"packages": [{"cup": "absent"}, "jq"]})
    assert trial.run("dpkg -l cup pot jq | grep -c ^ii") == "2"


def test_unknown_names_and_versions_are_all_named_and_nothing_is_installed(trial):
    trial.stock(("tea", "1.0"))
    packages = ["tea", "no-such-thing", {"nano": {"version": "0.1"}}]
    with pytest.raises(DriverError) as caught:
        trial.converge({"repositories": SHOP, "packages": packages})
    assert "locate package no-such-thing" in caught.value.message
    assert "Version '0.1' for 'nano' was not found" in caught.value.message
    assert trial.run("dpkg -l tea nano 2>/dev/null | grep ^ii || :") == ""
    with pytest.raises(DriverError, match=r"No version of tea is like 3\.\*; there are: .*1\.0"):
        trial.converge({"repositories": SHOP, "packages": [{"tea": {"version": "3.*"}}]})


@pytest.mark.parametrize("moment", ["preinst", "postinst", "prerm"])
def test_what_a_power_cut_interrupted_is_finished(trial, moment):
    slow = "[ -e /srv/calm ] || { touch /srv/reached; sleep 60; }"
    trial.stock(("tea", "1.0", "", moment, slow), ("cup", "1"))
    before = {"repositories": SHOP, "packages": ["cup"]}
    after = {"repositories": SHOP, "packages": ["cup", "tea"]}
    if moment == "prerm":
        before, after = after, before
    trial.converge(before)
    failed = _cut(trial, after, "while [ ! -e /srv/reached ]; do sleep 0.1; done; touch /srv/calm")
    assert isinstance(failed, DriverError)
    plan = trial.plan(after)
    assert "~ package database" in shown(plan) or moment == "prerm"
    trial.converge(after)
    there = "0" if moment == "prerm" else "1"
    assert trial.run("dpkg -l tea 2>/dev/null | grep -c ^ii || :") == there
    assert trial.run("dpkg --audit; apt-get check -qq") == ""


def _cut(trial: Trial, system: dict[str, Any], when: str) -> BaseException | None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            trial.converge(system)
        except DriverError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    trial.run(when)
    trial.host.kill()
    thread.join(60)
    trial.host.start()
    return failed[0] if failed else None


def test_what_somebody_else_left_half_way_is_finished_too(trial):
    trial.stock(("tea", "1.0", "", "postinst", "[ -e /srv/calm ]"), ("cup", "1"))
    trial.run("dpkg -i /srv/shop/tea_1.0.deb >/dev/null 2>&1 || touch /srv/calm")
    declared = {"repositories": SHOP, "packages": ["cup"]}
    assert fields(trial.plan(declared), "package database") == {
        "state": ("tea half-configured", "whole")
    }
    assert "~ package database" in trial.converge(declared)
    assert trial.run("dpkg-query -W -f '${db:Status-Abbrev}' tea") == "ii"


def test_a_lock_of_another_apt_is_waited_for_and_its_holder_is_named(trial):
    trial.stock(("tea", "1.0", "", "postinst", "sleep 20"), ("cup", "1"))
    trial.converge({"repositories": SHOP})
    trial.run(
        "apt-get -qq install tea </dev/null >/dev/null 2>&1 & "
        "while [ ! -e /usr/share/tea/version ]; do sleep 0.1; done"
    )
    trial.converge({"repositories": SHOP, "packages": ["cup"]})
    assert any(r.startswith("waits for apt-get") for r in trial.reports), trial.reports
    assert trial.run("dpkg -l tea cup | grep -c ^ii") == "2"


def test_the_lock_of_the_lists_is_waited_for_too(trial):
    trial.run(
        """cat >/tmp/hold.py <<'EOF'
import fcntl, time
with open("/var/lib/apt/lists/lock", "w") as f:
    fcntl.lockf(f, fcntl.LOCK_EX)
    time.sleep(8)
EOF
(python3 /tmp/hold.py >/dev/null 2>&1 &); sleep 0.5"""
    )
    trial.stock(("tea", "1.0"))
    began = time.monotonic()
    trial.converge({"repositories": SHOP, "packages": ["tea"]})
    assert time.monotonic() - began > 5
    assert any(r.startswith("waits for python3") for r in trial.reports)


def test_sources_that_changed_are_read_again(trial):
    trial.run("apt-get -qq update")
    trial.stock(("nano", "99.0"))
    trial.run("echo 'deb [trusted=yes] file:/srv/shop ./' >/etc/apt/sources.list.d/by-hand.list")
    trial.converge({"packages": ["nano"]})
    assert trial.run("dpkg-query -W -f '${Version}' nano") == "99.0"


def test_a_repository_that_fails_is_not_left_behind(trial):
    trial.stock(("tea", "1.0"))
    signed = {"shop": {"uris": ["file:/srv/shop"], "suites": ["./"]}}
    with pytest.raises(
        DriverError, match=r"repository shop on trial: .*does not have a Release file"
    ):
        trial.converge({"repositories": signed})
    assert trial.run("ls -d /etc/apt/*/shop.* 2>/dev/null; apt-get -qq update") == ""
    gone = {"gone": {"uris": ["http://127.0.0.1:9/x"], "suites": ["./"], "signed": False}}
    with pytest.raises(DriverError, match=r"repository gone on trial: .*127\.0\.0\.1"):
        trial.converge({"repositories": gone})
    assert trial.run("ls -d /etc/apt/*/gone.* 2>/dev/null || :") == ""
    # what worked comes back
    trial.converge({"repositories": SHOP, "packages": ["tea"]})
    with pytest.raises(DriverError, match="does not have a Release"):
        trial.converge({"repositories": signed, "packages": ["tea"]})
    assert "Trusted: yes" in trial.run("cat /etc/apt/sources.list.d/shop.sources")
    assert trial.converge({"repositories": SHOP, "packages": ["tea"]}) == []


def test_a_signed_repository_drifts_is_mended_and_gives_back_what_was_there(trial):
    trial.stock(("tea", "1.0"))
    trial.run(
        """set -e; cd /srv/shop; export GNUPGHOME=/root/g; mkdir -p -m 700 $GNUPGHOME
gpg -q --batch --passphrase '' --quick-gen-key shop rsa3072 sign never 2>/dev/null
printf 'Date: %s\\nSHA256:\\n %s %s Packages\\n' "$(LC_ALL=C date -Ru)" \
  "$(sha256sum Packages | cut -d' ' -f1)" "$(stat -c %s Packages)" >Release
gpg -q --batch --yes --clearsign -o InRelease Release
echo '# by hand' >/etc/apt/sources.list.d/shop.sources"""
    )
    armored = trial.run("GNUPGHOME=/root/g gpg --armor --export shop")
    key = LabFile("shop.asc", f"{armored}\n".encode())
    declared = {"repositories": {"shop": {"uris": "file:/srv/shop", "suites": "./", "key": key}}}
    assert trial.converge(declared) == ["~ repository shop"]
    trial.run("echo 'Enabled: no' >>/etc/apt/sources.list.d/shop.sources")
    change = trial.plan(declared).change("repository shop")
    assert change is not None
    assert "-Enabled: no" in change.fields[0].text.splitlines()
    trial.converge(declared)
    trial.run("echo x >>/etc/apt/keyrings/shop.asc")
    assert list(fields(trial.plan(declared), "repository shop")) == ["key"]
    trial.converge(declared)
    trial.converge({**declared, "packages": ["tea"]})
    trial.converge({})
    assert trial.run("cat /etc/apt/sources.list.d/shop.sources") == "# by hand"
    assert trial.run("ls -d /etc/apt/keyrings/shop.* 2>/dev/null || :") == ""


def test_users_passwords_and_exact_keys(trial):
    other = f"{KEY}other"
    trial.run(
        "groupadd trash; useradd -m -p '$6$old$old' -s /bin/bash pi; mkdir /home/pi/.ssh;"
        f"printf '%s\\n' '# mine' '{KEY}pi you' >/home/pi/.ssh/authorized_keys"
    )
    secret = SecretName("ops_password")
    ops = {"password_hash": secret, "authorized_keys": [f"{KEY}ops me"], "groups": ["sudo"]}
    pi = {"password_hash": secret, "authorized_keys": {"exact": True, "keys": [f"{KEY}ops me"]}}
    service = {"system": True, "home": "/var/lib/svc", "groups": ["grp"]}
    groups = {"grp": {"system": True}, "trash": {"state": "absent"}}
    declared = {"users": {"ops": ops, "pi": pi, "svc": service}, "groups": groups}
    plan = trial.plan(declared)
    assert fields(plan, "user pi")["authorized_keys"] == ([f"{KEY}pi you"], [f"{KEY}ops me"])
    assert HASH not in repr(plan)
    trial.converge(declared)
    assert trial.run("cat /home/pi/.ssh/authorized_keys") == f"{KEY}ops me"
    assert trial.run("sed -n 's/^ops:\\([^:]*\\):.*/\\1/p' /etc/shadow") == HASH
    assert int(trial.run("id -u svc")) < 1000
    assert trial.run("getent passwd svc | cut -d: -f7") == "/usr/sbin/nologin"
    assert trial.run("getent group trash || :") == ""

    trial.run(
        f"usermod -p x pi; echo '{other}' >>/home/pi/.ssh/authorized_keys;"
        f"echo '{KEY}two' >/home/pi/.ssh/authorized_keys2;"
        f"printf '%s\\n' 'no-pty {KEY}ops me' >/home/ops/.ssh/authorized_keys; groupadd trash"
    )
    assert shown(trial.plan(declared)) == ["- group trash", "~ user ops", "~ user pi"]
    assert set(fields(trial.plan(declared), "user pi")) == {"password_hash", "authorized_keys"}
    trial.converge(declared)
    assert trial.run("cat /home/pi/.ssh/authorized_keys*") == f"{KEY}ops me"

    trial.run("su -s /bin/sh -c 'sleep 300 >/dev/null 2>&1 &' ops")
    gone = {"ops": {"state": "absent", "remove_home": True}, "svc": {"state": "absent"}}
    plan = trial.plan({"users": gone})
    assert [c.destroys for c in plan.changes if c.what == "user ops"] == [
        "/home/ops, the home of ops"
    ]
    trial.converge({"users": gone})
    assert trial.run("ls -d /home/ops /var/lib/svc 2>/dev/null || :") == "/var/lib/svc"
    assert trial.run("sed -n 's/^pi:\\([^:]*\\):.*/\\1/p' /etc/shadow") == "$6$old$old"
    assert trial.run("cat /var/lib/strata/owned; ls /var/lib/strata/passwords") == ""


def test_a_group_or_shell_that_nothing_brings_is_a_blocker(trial):
    plan = trial.plan({"users": {"ops": {"groups": ["nobodys"]}, "b": {"shell": "/bin/zsh"}}})
    assert [b.what for b in plan.blockers] == ["user ops", "user b"]
    assert "no group nobodys" in plan.blockers[0].why


def test_rules_of_sudo_that_visudo_refuses_change_nothing(trial):
    good = {"sudoers": {"ops": "ops ALL=(ALL) NOPASSWD: ALL"}, "users": {"ops": {}}}
    trial.converge(good)
    assert trial.run("stat -c '%a %U' /etc/sudoers.d/ops; su -c 'sudo -n id -u' ops") == (
        "440 root\n0"
    )
    before = trial.run("sha256sum /etc/sudoers.d/*")
    with pytest.raises(DriverError, match="syntax error"):
        trial.converge({**good, "sudoers": {"ops": "ops ALL=(ALL NOPASSWD: ALL"}})
    assert trial.run("sha256sum /etc/sudoers.d/*") == before
    trial.converge({})
    assert trial.run("ls /etc/sudoers.d/ops 2>/dev/null || :") == ""


def test_a_certificate_authority_is_believed_and_then_no_longer(trial):
    pem = trial.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=home -keyout /root/k "
        "-out /root/c 2>/dev/null; cat /root/c"
    )
    declared = {"certificate_authorities": {"home": LabFile("home.pem", f"{pem}\n".encode())}}
    trial.converge(declared)
    assert trial.run("openssl verify /root/c") == "/root/c: OK"
    trial.run("rm /etc/ssl/certs/strata-home.pem; sed -i 2,20d /usr/local/share/ca-certificates/*")
    assert set(fields(trial.plan(declared), "certificate_authority home")) == {"sha256", "trusted"}
    trial.converge(declared)
    assert trial.run("openssl verify /root/c") == "/root/c: OK"
    trial.converge({})
    assert "OK" not in trial.run("openssl verify /root/c 2>&1 || :")
    assert trial.run("ls /etc/ssl/certs | grep strata || :") == ""


def test_recipes_come_drift_and_go(trial):
    declared = {
        "unattended_upgrades": {"origins": ["origin=Debian,label=Debian"], "reboot": "04:00"},
        "node_exporter": {"listen": "127.0.0.1:9101", "collectors": {"wifi": False}},
    }
    trial.converge(declared)
    metrics = "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:9101\"))'"
    trial.run(f"sleep 1; {metrics}")
    config = trial.run("apt-config dump | grep Unattended-Upgrade::")
    assert 'Automatic-Reboot-Time "04:00"' in config
    assert config.count("Origins-Pattern:: ") == 1
    trial.run("systemctl -q disable --now apt-daily-upgrade.timer")
    trial.run("echo >/etc/default/prometheus-node-exporter")
    assert shown(trial.plan(declared)) == [
        "~ file /etc/default/prometheus-node-exporter",
        "~ service apt-daily-upgrade.timer",
        "~ service prometheus-node-exporter.service",
    ]
    trial.converge(declared)
    trial.converge({})
    assert trial.run("dpkg -l prometheus-node-exporter unattended-upgrades | grep ^ii || :") == ""


def test_docker_with_its_daemons_settings(trial):
    settings = {"storage-driver": "vfs", "log-driver": "local"}
    declared = {"container_engine": {"kind": "docker", "daemon": settings}}
    trial.converge(declared)
    assert trial.run("docker info -f '{{.LoggingDriver}}'; docker compose version --short") != ""
    changed = {"kind": "docker", "daemon": {**settings, "log-driver": "json-file"}}
    assert trial.converge({"container_engine": changed}) == [
        "~ file /etc/docker/daemon.json",
        "~ service docker.service",
    ]
    assert trial.run("docker info -f '{{.LoggingDriver}}'") == "json-file"
    wrong = {"kind": "docker", "daemon": {**settings, "no-such-setting": True}}
    with pytest.raises(DriverError, match="daemon"):
        trial.converge({"container_engine": wrong})
    assert trial.run("docker info -f '{{.LoggingDriver}}'") == "json-file"


def test_podman_answers_compose(trial):
    trial.converge({"container_engine": "podman"})
    assert trial.run(
        "DOCKER_HOST=unix:///run/podman/podman.sock docker version -f '{{.Server.Os}}'"
    )
