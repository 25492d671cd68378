"""Sessions opened ahead, against a real sshd: handed out once, to who wants exactly them."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from lab.clients import shell_ahead
from lab.clients.shell import Shells
from lab.clients.shell_ahead import Opening
from lab.errors import TransportError
from lab.model.secret import Secret


@pytest.fixture
def pool(tmp_path, monkeypatch):
    monkeypatch.setattr(shell_ahead, "_waiting", {})
    monkeypatch.setattr(shell_ahead, "_opened", {})
    made = Shells(tmp_path / "run", threading.Event())
    yield made
    made.close()
    shell_ahead.end()
    assert not list((tmp_path / "run").glob("known-*"))


@pytest.fixture
def noted(pool, sshd):
    """What one login to that host leaves to be noted."""
    assert pool.to(sshd).run("echo one", doing="ask", root=False).text == "one\n"
    pool.close()
    return shell_ahead.opened()


def waiting():
    (one,) = shell_ahead._waiting.values()
    return one.session


def test_what_was_asked_for_is_noted_without_our_process_number(noted, sshd):
    (opening,) = noted
    assert opening.argv[0] == "ssh"
    assert "{pid}" in opening.known[0]
    assert sshd.host_key in opening.known[1]
    assert not [word for word in opening.argv if f"-{os.getpid()}-" in word]


def test_the_session_opened_ahead_is_the_one_that_is_used(noted, pool, sshd):
    shell_ahead.begin(noted)
    ahead = waiting()
    assert pool.to(sshd).run("echo two", doing="ask", root=False).text == "two\n"
    assert pool.to(sshd)._sessions == {False: ahead}
    assert shell_ahead._waiting == {}
    pool.to(sshd).close()
    assert pool.to(sshd).run("echo three", doing="ask", root=False).text == "three\n"


def test_a_new_connection_is_really_new(noted, pool, sshd):
    shell_ahead.begin(noted)
    ahead = waiting()
    shell = pool.anew(sshd)
    assert shell.run("echo new", doing="ask", root=False).text == "new\n"
    assert shell._sessions[False] is not ahead
    shell.close()


def test_another_login_does_not_get_it(noted, pool, sshd):
    shell_ahead.begin(noted)
    with pytest.raises(TransportError):
        pool.to(replace(sshd, user="nobody-here")).run("true", doing="ask", root=False)
    assert waiting().alive


def test_one_that_ended_meanwhile_is_left_alone(noted, pool, sshd):
    shell_ahead.begin(noted)
    ahead = waiting()
    ahead.end()
    assert pool.to(sshd).run("echo yes", doing="ask", root=False).text == "yes\n"
    assert pool.to(sshd)._sessions[False] is not ahead


def test_one_that_waited_too_long_is_left_alone(noted, pool, sshd, monkeypatch):
    shell_ahead.begin(noted)
    ahead = waiting()
    monkeypatch.setattr(shell_ahead, "_KEPT_SECONDS", 0.0)
    assert pool.to(sshd).run("echo yes", doing="ask", root=False).text == "yes\n"
    assert not ahead.alive


def test_what_nobody_asks_for_is_ended_with_its_files(noted, pool, tmp_path):
    shell_ahead.begin(noted)
    ahead = waiting()
    assert list((tmp_path / "run").glob("known-*"))
    shell_ahead.end()
    assert not ahead.alive
    assert not list((tmp_path / "run").glob("known-*"))


def test_a_login_with_a_password_is_never_noted(pool, sshd):
    secret = Secret("ops", SimpleNamespace(reveal=lambda name: f"open {name}"))
    shell = pool.to(replace(sshd, sudo_password=secret, user="nobody-here"))
    with pytest.raises(TransportError):
        shell.run("true", doing="ask")
    assert shell_ahead.opened() == []


def test_only_so_many_are_begun(noted, pool, monkeypatch):
    monkeypatch.setattr(shell_ahead, "MOST", 2)
    (opening,) = noted
    shell_ahead.begin([replace(opening, argv=(*opening.argv, f"#{i}")) for i in range(5)])
    assert len(shell_ahead._waiting) == 2


def test_a_missing_program_is_left_to_who_asks(pool):
    shell_ahead.begin([Opening(("no-such-program-here",))])
    assert shell_ahead._waiting == {}
