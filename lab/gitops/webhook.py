"""A small HTTP server for webhooks. A good one only means "look now": its body is not believed.

GitHub, Gitea and Forgejo sign the body (HMAC-SHA256); GitLab sends the secret itself.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lab.errors import LabError

MAX_BODY = 1024 * 1024
SIGNED = ("X-Hub-Signature-256", "X-Forgejo-Signature", "X-Gitea-Signature")
TOKEN = "X-Gitlab-Token"  # noqa: S105 (the name of a header)
_DEADLINE = 10.0


def is_genuine(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Whether whoever sent this knows the secret."""
    if not secret:
        return False
    wanted = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    for name in SIGNED:
        given = headers.get(name)
        if given is not None:
            return hmac.compare_digest(given.removeprefix("sha256=").encode(), wanted.encode())
    token = headers.get(TOKEN)
    return token is not None and hmac.compare_digest(token.encode(), secret.encode())


@contextmanager
def listening(place: str, secret: Callable[[], str], hint: Callable[[], None]) -> Iterator[int]:
    """Listen at ``ADDRESS:PORT`` while inside; gives the port. ``hint`` is called for good ones.

    ``secret`` is asked each time: it may have been rotated. Raises LabError where the port cannot
    be had.
    """
    address, _, port = place.rpartition(":")

    class Handler(_Handler):
        """Knows the secret."""

        def genuine(self, body: bytes) -> bool:
            """Whether it may be believed to come from the forge."""
            return is_genuine(dict(self.headers.items()), body, secret())

        def act(self) -> None:
            """Hand the hint on."""
            hint()

    try:
        server = ThreadingHTTPServer((address.strip("[]"), int(port)), Handler)
    except OSError as error:
        raise LabError(
            f"Unable to listen for webhooks at {place}: {error.strerror or error}.",
            hint="lab gitops install --webhook ADDRESS:PORT, with one that is free",
        ) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_DEADLINE)


class _Handler(BaseHTTPRequestHandler):
    timeout = _DEADLINE
    server_version = "strata"
    sys_version = ""

    def genuine(self, body: bytes) -> bool:
        """Whether it may be believed to come from the forge."""
        raise NotImplementedError

    def act(self) -> None:
        """Hand the hint on."""
        raise NotImplementedError

    def do_POST(self) -> None:
        """Any path will do."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            self._answer(HTTPStatus.LENGTH_REQUIRED)
        elif int(length) > MAX_BODY:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif self.genuine(self.rfile.read(int(length))):
            self.act()
            self._answer(HTTPStatus.ACCEPTED)
        else:
            self._answer(HTTPStatus.FORBIDDEN)

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library's name)
        """Say nothing: a stranger must not be able to fill the log."""
