"""Becoming root on real hosts: by sudo with its password, by doas, and each refusal in words."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from lab.clients.shell import Endpoint, Shells
from lab.errors import DriverError, LabError, TransportError
from lab.model.secret import Secret

pytestmark = pytest.mark.engine
PASSWORD = "it's a \"pass\\word\" $(with) üñ 'quotes'"


class Values:
    def __init__(self, value: str) -> None:
        self.value, self.taken = value, 0

    def reveal(self, name: str) -> str:
        self.taken += 1
        return self.value

    def fingerprint(self, name: str) -> str:
        return ""

    def problem(self, name: str) -> None:
        return None


@pytest.fixture(scope="module")
def host(sandbox) -> Iterator[Any]:
    made = sandbox.host("rooted")
    made.run("cp -a /etc/sudoers.d /root/rules; gpasswd -d strata sudo 2>/dev/null || true")
    yield made
    made.remove()


@pytest.fixture
def rule(host) -> Iterator[Any]:
    """Give sudo (and doas) other rules; put them back at the end."""

    def write(sudo: str, doas: str = "") -> None:
        host.run(
            "rm -f /etc/sudoers.d/* /etc/doas.conf\n"
            f"cat >/etc/sudoers.d/strata <<'END'\n{sudo}\nEND\n"
            + (f"echo '{doas}' >/etc/doas.conf; chmod 600 /etc/doas.conf\n" if doas else "")
        )

    yield write
    host.run(
        "rm -rf /etc/sudoers.d /etc/doas.conf; cp -a /root/rules /etc/sudoers.d\n"
        "[ ! -e /root/head ] || mv /root/head /usr/bin/head"
    )


@pytest.fixture
def endpoint(host) -> Endpoint:
    return Endpoint(
        host.name, "ssh", host.address, host.port, host.user, host.host_key, host.identity_file
    )


@pytest.fixture
def pool(tmp_path) -> Iterator[Shells]:
    shells = Shells(tmp_path / "run", threading.Event())
    yield shells
    shells.close()


def _password(host, value: str = PASSWORD) -> None:
    host.run(f"chpasswd <<'END'\nstrata:{value}\nEND")


def _seen(host) -> str:
    """What a stranger on the host could have seen of it: processes, journal, what sudo noted."""
    return host.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; journalctl --no-pager -q; true")


def test_sudo_gets_its_password_once_and_nobody_else_does(host, rule, endpoint, pool):
    rule("strata ALL=(ALL) PASSWD: ALL\nDefaults pwfeedback, insults, lecture=always")
    _password(host)
    values = Values(PASSWORD)
    shell = pool.to(replace(endpoint, sudo_password=Secret("box", values)))
    assert shell.run("id -u; cat", doing="try", stdin=b"mine").stdout == b"0\nmine"
    assert shell.run("id -u", doing="try").text == "0\n"
    assert values.taken == 1
    assert shell.run("id -un", doing="try", root=False).text == "strata\n"
    assert PASSWORD not in _seen(host)
    assert PASSWORD not in repr(shell.endpoint)


def test_a_password_that_is_not_asked_for_is_never_sent(host, rule, endpoint, pool):
    rule("strata ALL=(ALL) NOPASSWD: ALL")
    shell = pool.to(replace(endpoint, sudo_password=Secret("box", Values(PASSWORD))))
    reply = shell.run("id -u; cat", doing="try", stdin=b"mine")
    assert reply.stdout == b"0\nmine"
    assert reply.stderr == b""


def test_a_wrong_password_is_tried_once_and_named_by_its_secret(host, rule, endpoint, pool):
    rule("strata ALL=(ALL) PASSWD: ALL\nDefaults passwd_tries=3")
    _password(host)
    since = host.run("date +%s").strip()
    shell = pool.to(replace(endpoint, sudo_password=Secret("box", Values("not this"))))
    began = time.monotonic()
    with pytest.raises(DriverError) as caught:
        shell.run("true", doing="look at it")
    assert not isinstance(caught.value, TransportError)
    assert time.monotonic() - began < 20
    assert caught.value.message == (
        "Unable to look at it on rooted: sudo there does not take the password of strata "
        "(the secret box)."
    )
    assert "box" in caught.value.hint
    assert "not this" not in f"{caught.value} {caught.value.lines}"
    failures = host.run(f"journalctl --no-pager -q --since @{since}; true").count(
        "pam_unix(sudo:auth): authentication failure"
    )
    assert failures <= 1


def test_a_secret_that_cannot_be_read_says_so(rule, endpoint, pool):
    with pytest.raises(LabError, match="the secret box"):
        pool.to(replace(endpoint, sudo_password=Secret("box"))).run("true", doing="look at it")


@pytest.mark.parametrize(
    ("rules", "secret", "told"),
    [
        (
            ("strata ALL=(ALL) PASSWD: ALL", ""),
            False,
            (
                r"strata may not become root there without a password \(sudo: a password is",
                "sudo_password: !secret NAME",
            ),
        ),
        (
            ("# nothing", ""),
            True,
            ("strata is not in the sudoers file", "NOPASSWD: ALL' > /etc/sudoers.d/strata"),
        ),
        (
            ("strata ALL=(ALL) NOPASSWD: ALL\nDefaults requiretty", ""),
            True,
            ("must have a tty", "!requiretty"),
        ),
        (("# nothing", "permit strata"), False, ("doas: Authentication required", "NOPASSWD")),
    ],
    ids=["a password", "not a sudoer", "requiretty", "doas asks"],
)
def test_each_refusal_has_its_cause_and_its_line(host, rule, endpoint, pool, rules, secret, told):
    rule(*rules)
    _password(host)
    given = Secret("box", Values(PASSWORD)) if secret else None
    with pytest.raises(DriverError, match=told[0]) as caught:
        pool.to(replace(endpoint, sudo_password=given)).run("true", doing="look at it")
    assert not isinstance(caught.value, TransportError)
    assert told[1] in caught.value.hint


def test_doas_is_enough_where_sudo_refuses(rule, endpoint, pool):
    rule("# nothing", "permit nopass strata")
    assert pool.to(endpoint).run("id -u", doing="try").text == "0\n"


def test_doas_is_enough_where_there_is_no_sudo(host, rule, endpoint, pool):
    rule("# nothing", "permit nopass strata")
    host.run("mv /usr/bin/sudo /root/sudo")
    try:
        assert pool.to(endpoint).run("id -u", doing="try").text == "0\n"
        rule("# nothing", "permit strata")
        with pytest.raises(DriverError, match="doas: ") as caught:
            pool.anew(endpoint).run("true", doing="look at it")
        assert "permit nopass strata" in caught.value.hint
    finally:
        host.run("mv /root/sudo /usr/bin/sudo")


def test_a_host_without_the_least_tools_says_which(host, rule, endpoint, pool):
    host.run("mv /usr/bin/head /root/head")
    with pytest.raises(DriverError, match="it has no head") as caught:
        pool.to(endpoint).run("true", doing="look at it")
    assert "coreutils" in caught.value.hint


def test_a_tmp_where_nothing_may_run_does_not_matter(host, endpoint, pool):
    host.run("mount -o remount,noexec /tmp")
    assert pool.to(endpoint).run("id -u", doing="try").text == "0\n"
