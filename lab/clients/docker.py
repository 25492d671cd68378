"""A Docker engine on this machine: its HTTP interface over its socket, no program and no library.

A call takes milliseconds, where the ``docker`` command needs tens of them to start.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from lab.errors import DriverError, TransportError

USUAL = "/var/run/docker.sock"
_SCHEME = "unix://"
_API = (1, 41)  # Docker 20.10, the oldest that can do what is asked here
_PIECE = 1 << 20


def usual_address(environment: Mapping[str, str] | None = None) -> str:
    """``DOCKER_HOST``, else the socket of the system's engine, else that of the user's own."""
    env = os.environ if environment is None else environment
    if env.get("DOCKER_HOST"):
        return env["DOCKER_HOST"]
    own = Path(env.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}"), "docker.sock")
    place = str(own) if not Path(USUAL).exists() and own.exists() else USUAL
    return f"{_SCHEME}{place}"


class Refused(DriverError):  # noqa: N818 (the house names read as sentences)
    """The engine answered, and said no. ``status`` is HTTP's: 404, 409, 500."""


class Engine:
    """One engine. Safe to use from several threads: each call has a connection of its own.

    Raises, from every method:
        TransportError: nothing listens there, it may not be used, or it hung up.
        Refused: it said no; the message is its own.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._prefix = ""
        self._about: dict[str, Any] = {}
        self._lock = threading.Lock()

    def version(self) -> dict[str, Any]:
        """``{"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12", …}``."""
        found: dict[str, Any] = self._exchange("GET", "/version", doing="ask Docker its version")
        return found

    def about(self) -> dict[str, Any]:
        """What ``docker info`` shows; asked once."""
        with self._lock:
            if not self._about:
                self._about = self._call("GET", "/info", doing="ask Docker about itself")
            return self._about

    def get(self, path: str, query: Mapping[str, Any] | None = None, *, doing: str) -> Any:
        """What the engine answers; ``None`` where there is no such thing."""
        try:
            return self._call("GET", path, query, doing=doing)
        except Refused as refused:
            if refused.status == http.HTTPStatus.NOT_FOUND:
                return None
            raise

    def post(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: object = None,
        *,
        doing: str,
        timeout: float = 60.0,
    ) -> Any:
        """What the engine answers; ``None`` where it says nothing."""
        return self._call("POST", path, query, body, doing=doing, timeout=timeout)

    def delete(self, path: str, query: Mapping[str, Any] | None = None, *, doing: str) -> None:
        """Remove a thing; one that is gone already is fine."""
        with contextlib.suppress(_Gone):
            self._call("DELETE", path, query, doing=doing)

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: bytes | Iterable[bytes] | None = None,
        *,
        doing: str,
        timeout: float = 600.0,
    ) -> bytes:
        """Send a tar archive, whole or in pieces, or nothing; the raw answer."""
        headers = {} if body is None else {"Content-Type": "application/x-tar"}
        raw: bytes = self._exchange(
            method,
            self._versioned(path),
            query,
            body,
            headers,
            doing=doing,
            timeout=timeout,
            raw=True,
        )
        return raw

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: object = None,
        *,
        doing: str,
        timeout: float = 60.0,
    ) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if content is not None else {}
        path = self._versioned(path)
        return self._exchange(
            method, path, query or {}, content, headers, doing=doing, timeout=timeout
        )

    def _versioned(self, path: str) -> str:
        """The path below the interface's version that both sides know."""
        if not self._prefix:
            told = self.version()
            newest, oldest = _number(told["ApiVersion"]), _number(told.get("MinAPIVersion", "1.12"))
            major, minor = max(oldest, min(_API, newest))
            self._prefix = f"/v{major}.{minor}"
        return f"{self._prefix}{path}"

    def _exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        doing: str,
        timeout: float = 60.0,
        raw: bool = False,
    ) -> Any:
        url = quote(path, safe="/:") + (f"?{urlencode(_plain(query))}" if query else "")
        chunked = body is not None and not isinstance(body, bytes)
        head = {"Host": "docker", **(headers or {})}
        if chunked:
            head["Transfer-Encoding"] = "chunked"
        connection = _Connection(self._socket_path(doing), timeout)
        try:
            # What it says counts also where it stopped listening in the middle of a body.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, url, body, head, encode_chunked=chunked)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(doing, error) from error
        finally:
            connection.close()
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise _refusal(doing, answer.status, content)
        if raw:
            return content
        return json.loads(content) if content.strip() else None

    def _socket_path(self, doing: str) -> str:
        if not self.address.startswith(f"{_SCHEME}/"):
            raise TransportError(
                f"Unable to {doing}: {self.address} is not an engine on this machine.",
                hint="unset DOCKER_HOST, or write host: unix:///var/run/docker.sock for the "
                "provider in lab.yaml",
            )
        return self.address.removeprefix(_SCHEME)

    def _unreachable(self, doing: str, error: Exception) -> TransportError:
        cause, hint = why_unreachable(self.address, error)
        return TransportError(f"Unable to {doing}: {cause}.", hint=hint)


class Engines:
    """A pool: one :class:`Engine` an address."""

    def __init__(self) -> None:
        self._engines: dict[str, Engine] = {}
        self._lock = threading.Lock()

    def at(self, address: str) -> Engine:
        """The engine of that address, ``""`` for the usual one. Nothing is asked of it here."""
        place = address or usual_address()
        with self._lock:
            return self._engines.setdefault(place, Engine(place))

    def used(self) -> tuple[Engine, ...]:
        """Every engine that somebody took from here."""
        with self._lock:
            return tuple(self._engines.values())


def engines(workspace: object) -> Engines:
    """The pool that all layers of a run share: ``workspace.resource(engines)``."""
    del workspace  # an engine is the machine's, not a lab's
    return Engines()


def why_unreachable(address: str, error: Exception) -> tuple[str, str]:
    """The cause in plain words, and what mends it."""
    if isinstance(error, PermissionError):
        return (
            f"you may not use the Docker engine at {address}",
            "sudo usermod --append --groups docker $USER, then log in again",
        )
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return (
            f"no Docker engine listens at {address}",
            "sudo systemctl start docker   (not installed? sudo apt-get install docker.io)",
        )
    if isinstance(error, TimeoutError):
        return f"the Docker engine at {address} does not answer in time", "docker info"
    return f"the connection to the Docker engine at {address} broke ({error})", "docker info"


class _Gone(Refused):
    """There is no such thing (404), or it is going already (409 while it is removed)."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("docker", timeout=timeout, blocksize=_PIECE)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _refusal(doing: str, status: int, content: bytes) -> Refused:
    try:
        said = str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        said = content.decode(errors="replace").strip() or f"it answers with status {status}"
    gone = status == http.HTTPStatus.NOT_FOUND or "is already in progress" in said
    kind = _Gone if gone else Refused
    lines = [line for line in said.splitlines() if line.strip()]
    return kind(f"Unable to {doing}: {lines[0].rstrip('.')}.", status=status, lines=lines)


def _number(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor)


def _plain(query: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lists become repeated keys, mappings JSON, truth values words, as the engine reads them."""
    words: list[tuple[str, str]] = []
    for key, value in query.items():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(one, bool):
                words.append((key, "true" if one else "false"))
            else:
                words.append((key, json.dumps(one) if isinstance(one, dict) else str(one)))
    return words
