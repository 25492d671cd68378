import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from layers.l4_workload import health
from layers.l4_workload.spec import Health


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/cut":
            self.close_connection = True
            return
        self.send_response(503 if self.path == "/broken" else 200)
        self.end_headers()
        self.wfile.write(b"Welcome home")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def place() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def nobody() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize(
    ("check", "healthy", "answer"),
    [
        (Health(http=":80/"), True, "200"),
        (Health(http=":80/", contains="Welcome"), True, "200"),
        (Health(http=":80/", contains="Goodbye"), False, "200, without 'Goodbye'"),
        (Health(http=":80/broken"), False, "503"),
        (Health(http=":80/broken", status=503), True, "503"),
        (Health(http=":80/cut"), False, "connection closed"),
    ],
)
def test_the_page_is_judged(place, check, healthy, answer):
    assert health.ask(check, place) == health.Verdict(healthy, answer)


def test_nobody_at_the_port(nobody):
    verdict = health.Verdict(False, "connection refused")
    assert health.ask(Health(http=":80/"), nobody) == verdict
    assert health.ask(Health(tcp=":80"), nobody) == verdict


def test_a_server_that_waits_for_its_client_is_open(place):
    assert health.ask(Health(tcp=":80"), place) == health.Verdict(True, "open")


def test_a_forward_with_nobody_behind_it_is_not_open():
    with socket.create_server(("127.0.0.1", 0)) as forward:

        def close_at_once() -> None:
            forward.accept()[0].close()

        thread = threading.Thread(target=close_at_once)
        thread.start()
        verdict = health.ask(Health(tcp=":80"), f"127.0.0.1:{forward.getsockname()[1]}")
        thread.join()
    assert verdict == health.Verdict(False, "connection closed")


@pytest.mark.parametrize(
    ("check", "status", "page", "healthy"),
    [
        (Health(http=":80/"), 200, "", True),
        (Health(http=":80/", contains="x"), 200, "y", False),
        (Health(http=":80/"), 0, "", False),
        (Health(http=":80/"), None, "", None),
        (Health(tcp=":80"), 1, "", True),
        (Health(tcp=":80"), 0, "", False),
    ],
)
def test_what_the_host_fetched_is_judged_alike(check, status, page, healthy):
    assert health.judge(check, status, page).healthy is healthy
