"""What a twin reaches is seen: tried from this machine, which reaches itself."""

import socket
import threading

import pytest

from lab.clients.shell import Endpoint, Shell
from lab.errors import DriverError
from lab.recovery import alone


@pytest.fixture
def shell(tmp_path):
    made = Shell(Endpoint(name="me", kind="local", address="local"), tmp_path, threading.Event())
    yield made
    made.close()


def test_what_is_reached_is_named_and_a_refusal_is_an_answer(shell):
    with socket.create_server(("127.0.0.1", 0)) as there, socket.socket() as shut:
        shut.bind(("127.0.0.1", 0))  # nobody listens there: it is refused
        ports = [one.getsockname()[1] for one in (there, shut)]
        with (
            alone.listening("127.0.0.1") as here,
            pytest.raises(DriverError, match="its twin is not closed off") as caught,
        ):
            alone.prove(shell, "web1", here, [("127.0.0.1", port) for port in ports])
    for port in (*ports, here.port):
        assert f"127.0.0.1:{port}" in caught.value.message
    assert here.heard == {"127.0.0.1"}, "by UDP, too"


def test_what_cannot_be_tried_is_not_proved(shell, monkeypatch):
    monkeypatch.setattr(alone, "_TRY", "echo 'bash is not there to try it with' >&2; exit 95\n")
    with (
        alone.listening("127.0.0.1") as here,
        pytest.raises(DriverError, match="reaches nothing: bash is not there"),
    ):
        alone.prove(shell, "web1", here, [])


@pytest.mark.parametrize(
    ("name", "address"),
    [("192.0.2.7", "192.0.2.7"), ("127.0.0.1", ""), ("localhost", ""), ("no.such.invalid", "")],
)
def test_a_name_is_tried_by_its_address_and_never_the_twins_own(name, address):
    assert alone.address_of(name) == address
