"""What a script writes comes out piece by piece, whole, whatever it holds."""

import hashlib
import threading

import pytest

from lab.clients.shell import Endpoint, Shell
from lab.errors import DeadlineExceeded, DriverError


@pytest.fixture
def shell(tmp_path):
    made = Shell(Endpoint("x", "local"), tmp_path, threading.Event())
    yield made
    made.close()


@pytest.mark.parametrize("size", [0, 1, 40, 65_535, 65_536, 5_000_000])
def test_all_of_it_comes_and_nothing_else(shell, size, tmp_path):
    content = (b"\nab 0\n" * (size // 6 + 1))[:size]
    (tmp_path / "c").write_bytes(content)
    whole, pieces = hashlib.sha256(), []

    def sink(piece):
        whole.update(piece)
        pieces.append(len(piece))

    reply = shell.run(f"cat {tmp_path}/c; echo said >&2", doing="read", sink=sink)
    assert (sum(pieces), reply.stdout) == (size, b"")
    assert whole.hexdigest() == hashlib.sha256(content).hexdigest()
    assert reply.stderr.strip() == b"said"
    assert shell.run("echo still in step", doing="look").text == "still in step\n"


def test_a_script_that_fails_says_so_after_its_stream(shell):
    got = []
    with pytest.raises(DriverError, match="no more"):
        shell.run("echo part; echo no more >&2; exit 3", doing="read", sink=got.append)
    assert b"".join(got) == b"part\n"


def test_the_deadline_counts_from_what_came_last(shell):
    steady = "for i in 1 2 3 4; do echo $i; sleep 0.3; done"
    assert shell.run(steady, doing="read", sink=lambda _: None, deadline=0.9).status == 0
    with pytest.raises(DeadlineExceeded):
        shell.run("echo 1; sleep 20", doing="read", sink=lambda _: None, deadline=0.5)


def test_what_the_sink_raises_is_raised_and_the_next_command_works(shell):
    def refuse(piece):
        raise ValueError(piece[:1])

    with pytest.raises(ValueError, match="x"):
        shell.run("echo x; cat /dev/zero", doing="read", sink=refuse)
    assert shell.run("echo ok", doing="look").text == "ok\n"
