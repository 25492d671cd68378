"""The shell against this machine, and against a real sshd on a loopback port."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab.clients.shell import Endpoint, Shell, Shells
from lab.clients.shell_ssh import command_line
from lab.errors import DeadlineExceeded, DriverError, Interrupted, TransportError

LOCAL = Endpoint("here", kind="local")


@pytest.fixture
def pool(tmp_path) -> Iterator[Shells]:
    shells = Shells(tmp_path / "run", threading.Event())
    yield shells
    shells.close()
    assert not list((tmp_path / "run").glob("known-*"))


@pytest.fixture(params=["local", "ssh"])
def shell(request, pool) -> Shell:
    return pool.to(LOCAL if request.param == "local" else request.getfixturevalue("sshd"))


def test_status_and_both_streams_come_back_apart(shell):
    reply = shell.run("echo out; echo err >&2; exit 3", doing="try", check=False, root=False)
    assert (reply.status, reply.stdout, reply.stderr) == (3, b"out\n", b"err\n")


def test_any_bytes_pass_both_ways(shell):
    content = bytes(range(256)) * 3000
    assert shell.run("cat", doing="try", stdin=content, root=False).stdout == content


def test_output_without_a_last_newline_stays_so(shell):
    assert shell.run("printf a", doing="try", root=False).stdout == b"a"
    assert shell.run("printf 'a\\n\\n'", doing="try", root=False).stdout == b"a\n\n"


def test_each_script_has_a_subshell_of_its_own(shell):
    assert shell.run("x=1; cd /tmp; exit 4", doing="try", check=False, root=False).status == 4
    assert shell.run('echo "${x-unset} $PWD"', doing="try", root=False).text == "unset /\n"


def test_a_syntax_error_ends_the_script_and_not_the_session(shell):
    assert shell.run("if then (", doing="try", check=False, root=False).status != 0
    assert shell.run("echo on", doing="try", root=False).text == "on\n"


def test_errexit_works_inside_a_script(shell):
    reply = shell.run("set -e; false; echo not here", doing="try", check=False, root=False)
    assert (reply.status, reply.stdout) == (1, b"")
    reply = shell.run(
        "set -e; read x; false; echo no", doing="try", check=False, root=False, stdin=b"line\n"
    )
    assert (reply.status, reply.stdout) == (1, b"")


def test_input_that_is_not_read_does_not_reach_the_next_script(shell):
    shell.run("true", doing="try", stdin=b"echo gotcha\n" * 100_000, root=False)
    assert shell.run("cat", doing="try", root=False).stdout == b""


def test_a_long_script_and_a_long_answer(shell):
    script = "x=1\n" * 60_000 + "head -c 3000000 /dev/zero"
    assert len(shell.run(script, doing="try", root=False).stdout) == 3_000_000


def test_stdin_is_streamed_and_counted(shell):
    sent: list[int] = []
    reply = shell.run(
        "wc -c",
        doing="try",
        stdin=(b"x" * 1000 for _ in range(500)),
        stdin_size=500_000,
        on_sent=sent.append,
        root=False,
    )
    assert reply.text.strip() == "500000"
    assert sent == list(range(1000, 500_001, 1000))


def test_a_wrong_size_is_a_mistake_of_ours_and_the_shell_lives_on(shell):
    with pytest.raises(ValueError, match="announced"):
        shell.run("cat", doing="try", stdin=[b"abc"], stdin_size=4, root=False)
    assert shell.run("echo on", doing="try", root=False).text == "on\n"


def test_a_failure_tells_the_last_line_and_the_hint(shell):
    with pytest.raises(DriverError) as caught:
        shell.run(
            "echo first >&2; echo no space. >&2; exit 1", doing="write it", hint="df", root=False
        )
    name = shell.endpoint.name
    assert str(caught.value) == f"Unable to write it on {name}: no space.\nTry: df"
    assert caught.value.lines == ("first", "no space.")
    assert caught.value.status == 1


def test_the_deadline_ends_the_command_and_the_next_one_works(shell):
    shell.run("true", doing="connect", root=False)
    with pytest.raises(DeadlineExceeded, match="not done after 1 s") as caught:
        shell.run("echo began >&2; sleep 60", doing="wait", deadline=0.8, root=False)
    assert caught.value.lines == ("began",)
    assert shell.run("echo on", doing="try", root=False).text == "on\n"


def test_cancelling_ends_the_command(shell):
    threading.Timer(0.3, shell._cancelled.set).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        shell.run("sleep 60", doing="wait", root=False)
    assert time.monotonic() - began < 5


def test_a_broken_session_is_a_transport_error_and_is_opened_again(shell):
    shell.run("true", doing="try", root=False)
    with pytest.raises(TransportError):
        shell.run(
            "kill -9 $$ $PPID" if shell.endpoint.kind == "ssh" else "kill -9 $$",
            doing="try",
            root=False,
        )
    assert shell.run("echo on", doing="try", root=False).text == "on\n"


def test_a_session_that_ended_between_commands_is_opened_again(shell):
    shell.run("true", doing="try", root=False)
    process = shell._sessions[False]._process
    process.kill()
    process.wait()
    assert shell.run("echo on", doing="try", root=False).text == "on\n"


def test_threads_take_turns(shell):
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        answers[number] = shell.run(f"echo {number}", doing="try", root=False).text

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: f"{n}\n" for n in range(8)}


def test_our_terminal_is_not_the_hosts(shell):
    assert shell.run("[ -t 0 ] || echo none", doing="try", root=False).text == "none\n"
    shell.run("true", doing="try", root=False)
    assert os.getsid(shell._sessions[False]._process.pid) != os.getsid(0)


def test_a_command_does_not_find_what_came_between_commands(shell):
    script = "(sleep 0.2; echo late; echo late >&2) & exit 0"
    shell.run(script, doing="try", root=False)
    reply = shell.run("wait; echo mine", doing="try", root=False)
    assert reply.text.endswith("mine\n")


def test_the_known_key_is_private_and_goes_at_the_end(pool, sshd, tmp_path):
    pool.to(sshd).run("true", doing="try", root=False)
    (known,) = (tmp_path / "run").glob("known-*")
    assert known.stat().st_mode & 0o777 == 0o600


def test_another_host_key_is_refused(pool, sshd, tmp_path, keygen):
    other = replace(sshd, host_key=keygen(tmp_path / "other"))
    with pytest.raises(TransportError, match="host key") as caught:
        pool.to(other).run("true", doing="look at it")
    assert "lab plan l2 host=web1" in caught.value.hint


def test_an_unknown_host_is_refused_without_a_recorded_key(pool, sshd):
    with pytest.raises(TransportError, match="its host key is not the one on record"):
        pool.to(replace(sshd, host_key=None)).run("true", doing="look at it")


def test_a_key_that_is_not_let_in(pool, sshd, tmp_path, keygen):
    keygen(tmp_path / "stranger")
    endpoint = replace(sshd, identity_file=str(tmp_path / "stranger"))
    with pytest.raises(TransportError, match=r"does not let .* in with the keys"):
        pool.to(endpoint).run("true", doing="look at it")


def test_nobody_listens(pool, sshd, free_port):
    endpoint = replace(sshd, port=free_port)
    with pytest.raises(TransportError) as caught:
        pool.to(endpoint).run("true", doing="look at it")
    assert caught.value.message == (
        f"Unable to look at it on web1: nothing listens on 127.0.0.1 port {endpoint.port}."
    )
    assert caught.value.hint == "lab status host=web1"


def test_a_host_that_never_answers_is_a_transport_error(pool, sshd):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = replace(sshd, port=silent.getsockname()[1])
        with pytest.raises(TransportError, match="no answer within 1 s"):
            pool.to(endpoint).run("true", doing="look at it", deadline=0.6)


@pytest.fixture
def without_root(tmp_path, monkeypatch):
    """A PATH whose ``id`` says that we are an ordinary user, and whose sudo is ours."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "dd", "head", "cat", "env", "bash"):
        found = shutil.which(name)
        if found:
            (programs / name).symlink_to(found)

    def program(name: str, body: str) -> None:
        path = programs / name
        path.write_text(f"#!{shutil.which('sh')}\n{body}\n")
        path.chmod(0o755)

    program("id", "echo 1000")
    monkeypatch.setenv("PATH", str(programs))
    return program


def test_no_way_to_become_root_is_said(pool, without_root):
    with pytest.raises(DriverError, match="neither sudo nor doas is installed"):
        pool.to(LOCAL).run("true", doing="look at it")


def test_sudo_that_asks_for_a_password_is_said(pool, without_root):
    without_root("sudo", "echo 'sudo: a password is required' >&2; exit 1")
    with pytest.raises(DriverError, match="without a password") as caught:
        pool.to(LOCAL).run("true", doing="look at it")
    assert not isinstance(caught.value, TransportError)
    assert "NOPASSWD" in caught.value.hint


def test_root_comes_through_sudo_once_a_session(pool, without_root, tmp_path):
    body = f'echo "=$1" >> {tmp_path}/asked; shift; BECAME=root; export BECAME; exec "$@"'
    without_root("sudo", body)
    shell = pool.to(LOCAL)
    assert shell.run('echo "$BECAME"', doing="try").text == "root\n"
    assert shell.run('echo "$BECAME"', doing="try").text == "root\n"
    assert shell.run('echo "${BECAME-me}"', doing="try", root=False).text == "me\n"
    assert (tmp_path / "asked").read_text() == "=-n\n"


def test_without_ssh_the_doctor_is_the_next_step(pool, sshd, without_root):
    with pytest.raises(DriverError, match="ssh is not installed here") as caught:
        pool.to(sshd).run("true", doing="look at it")
    assert caught.value.hint == "lab doctor"


def test_a_new_connection_never_rides_on_an_open_one():
    endpoint = Endpoint("web1", "ssh", "192.0.2.1")
    anew = command_line(endpoint, None, root=False, anew=True)
    assert "-oControlPath=none" in anew
    assert "-oControlPath=none" not in command_line(endpoint, None, root=False)


def test_an_adopted_shell_takes_the_place_of_the_one_before(pool, sshd):
    first, second = pool.to(sshd), pool.anew(sshd)
    assert first.run("echo $PPID", doing="try", root=False) != second.run(
        "echo $PPID", doing="try", root=False
    )
    pool.adopt(second)
    assert pool.to(sshd) is second
    assert not first._sessions
    assert second.run("echo on", doing="try", root=False).text == "on\n"


def test_a_host_that_lacks_a_tool_says_which(pool, without_root, tmp_path):
    (tmp_path / "bin/head").unlink()
    with pytest.raises(DriverError, match="it has no head") as caught:
        pool.to(LOCAL).run("true", doing="look at it", root=False)
    assert "coreutils" in caught.value.hint
