"""The QMP client against a server that says what a test tells it to."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.clients.qmp import Qmp
from lab.errors import DriverError, TransportError

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\n'
DONE = b'{"return": {}}\n'


class Server:
    """Answers the n-th request with the n-th of ``answers``; ``None`` hangs up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: list[bytes | None] = []
        self.greeting: bytes = GREETING
        self.asked: list[dict[str, Any]] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(1)
        self._thread = threading.Thread(target=self._serve)

    def start(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(self.greeting)
            for answer in self.answers:
                line = lines.readline()
                if not line:
                    return
                self.asked.append(json.loads(line))
                if answer is None:
                    return
                connection.sendall(answer)
            lines.readline()

    def close(self) -> None:
        if self._thread.ident is not None:
            self._thread.join(5)
        self._listening.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "s")
    yield made
    made.close()


def test_negotiates_and_returns_what_the_command_returns(server: Server) -> None:
    server.start(DONE, b'{"return": {"status": "running"}}\n')
    with Qmp(server.path, "web1") as monitor:
        assert monitor.execute("query-status") == {"status": "running"}
    assert [a["execute"] for a in server.asked] == ["qmp_capabilities", "query-status"]


def test_events_between_are_skipped_and_pieces_put_together(server: Server) -> None:
    server.start(DONE, b'{"event": "RESET", "data": {}}\n{"event": "STOP"}\n{"return": 1}\n')
    with Qmp(server.path, "web1") as monitor:
        assert monitor.execute("x", size=5) == 1
    assert server.asked[1] == {"execute": "x", "arguments": {"size": 5}}


def test_the_human_monitor(server: Server) -> None:
    server.start(DONE, b'{"return": "one\\r\\ntwo"}\n')
    with Qmp(server.path, "web1") as monitor:
        assert monitor.monitor("info usernet") == "one\r\ntwo"
    assert server.asked[1]["arguments"] == {"command-line": "info usernet"}


def test_a_refusal_says_which_command_and_why(server: Server) -> None:
    server.start(DONE, b'{"error": {"class": "GenericError", "desc": "Device not found."}}\n')
    with Qmp(server.path, "web1") as monitor, pytest.raises(DriverError) as caught:
        monitor.execute("block_resize")
    assert caught.value.message == "Unable to run block_resize on web1: Device not found."


def test_quit_may_end_it_before_it_answers(server: Server) -> None:
    server.start(DONE, None)
    with Qmp(server.path, "web1") as monitor:
        monitor.tell("quit")


def test_hanging_up_within_a_command_is_told(server: Server) -> None:
    server.start(DONE, None)
    with Qmp(server.path, "web1") as monitor, pytest.raises(TransportError, match="it hung up"):
        monitor.execute("query-status")


def test_a_busy_monitor_is_not_waited_for_for_ever(server: Server) -> None:
    server.greeting = b""
    server.start()
    with pytest.raises(TransportError, match=r"Unable to speak with the QEMU of web1: timed out\."):
        Qmp(server.path, "web1", timeout=0.05)


def test_no_socket(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="No such file"):
        Qmp(tmp_path / "none", "web1")


@pytest.mark.parametrize("greeting", [b"SSH-2.0-x\n", b"[1]\n"])
def test_something_else_behind_the_socket(server: Server, greeting: bytes) -> None:
    server.greeting = greeting
    server.start()
    with pytest.raises(TransportError, match="does not speak QMP"):
        Qmp(server.path, "web1")
