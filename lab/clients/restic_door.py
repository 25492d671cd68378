"""An append-only door to a restic repository: restic's REST protocol on a socket.

Who comes in may add content, and read what adding needs: the configuration, one key, the index and
the locks. Nothing is overwritten or removed but a lock of its own; content and snapshots are never
handed out. The one snapshot that may be left is held back until :meth:`Door.admit`.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

from lab.clients.restic_stores import NAME, VERSION, Added, FolderStore, Store
from lab.errors import DriverError, LabError

USER = "strata"
_LISTED = frozenset({"keys", "locks", "index"})
_ADDED = frozenset({"data", "index", "snapshots", "locks"})
_LARGEST = {"data": 1 << 30, "index": 1 << 30, "snapshots": 1 << 20, "locks": 1 << 16}
_PIECE = 1 << 20
_SILENT = 600.0
UNANSWERED = 60.0
"""Seconds for which the store may fail, each time it is asked, until a push is given up."""
_ANSWERS = {
    Added.KEPT: HTTPStatus.OK,
    Added.THERE: HTTPStatus.FORBIDDEN,
    Added.MISNAMED: HTTPStatus.BAD_REQUEST,
}


class Door:
    """One opening of a repository, for one capture of one host.

    Attributes:
        key: The name of the one key that is shown.
        credential: What whoever comes must say; made for this opening alone.
        received: Bytes of content that came.
    """

    def __init__(self, store: Store, key: str, notes: Notes) -> None:
        self.store, self.key = store, key
        self.credential = secrets.token_urlsafe(24)
        self.received = 0
        self._notes = notes
        self._snapshot: tuple[str, bytes] | None = None
        self._locks: set[str] = set()
        self._lock = threading.Lock()
        self._failed: tuple[float, LabError] | None = None

    def lists(self, kind: str) -> list[dict[str, str | int]]:
        """What is shown of a kind: names and sizes."""
        return [
            {"name": name, "size": size}
            for name, size in self.store.names(kind)
            if kind != "keys" or name == self.key
        ]

    def shows(self, kind: str, name: str) -> bool:
        """Whether that may be read."""
        return kind in {"index", "locks"} or (kind == "keys" and name == self.key)

    def keep(self, kind: str, name: str, body: Iterator[bytes]) -> HTTPStatus:
        """Take in one file; only what is called by the hash of its content, and is not there."""
        if kind == "snapshots":
            return self._hold_back(name, b"".join(body))
        if kind == "locks":
            self._locks.add(name)
            self._notes.add(self.store, kind, name)
        return _ANSWERS[self.store.add(kind, name, body)]

    def _hold_back(self, name: str, content: bytes) -> HTTPStatus:
        if hashlib.sha256(content).hexdigest() != name:
            return HTTPStatus.BAD_REQUEST
        with self._lock:
            if self._snapshot is not None:
                return HTTPStatus.FORBIDDEN
            self._snapshot = (name, content)
        return HTTPStatus.OK

    def unlock(self, name: str) -> bool:
        """Take away a lock that was left through this door."""
        if name not in self._locks:
            return False
        self.store.remove("locks", name)
        return True

    def admit(self, name: str) -> None:
        """Let the snapshot in that was held back. Raises DriverError where it is another one."""
        if self._snapshot is None or self._snapshot[0] != name:
            raise DriverError(f"Unable to store what was pushed: no snapshot {name[:8]} came.")
        self.store.add("snapshots", name, iter([self._snapshot[1]]))

    def retract(self, name: str) -> None:
        """Take the snapshot away again that was let in."""
        self.store.remove("snapshots", name)

    def shut(self) -> None:
        """Take away the key, and locks that were left."""
        for name in self._locks:
            self.store.remove("locks", name)
        self.store.remove("keys", self.key)

    def went(self, failure: LabError | None) -> None:
        """How asking the store went; the first failure since it last went well is remembered."""
        if failure is None:
            self._failed = None
        elif self._failed is None:
            self._failed = (time.monotonic(), failure)

    def check(self) -> None:
        """Raise what the store says, where for a while it has said nothing else."""
        if self._failed and time.monotonic() - self._failed[0] > UNANSWERED:
            raise self._failed[1]


class Notes:
    """What must be taken away again, written down before it is there: a killed run leaves it.

    One file an opening, held locked while its process lives.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / secrets.token_hex(8)
        self._file = self._path.open("x", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def add(self, store: Store, kind: str, name: str) -> None:
        """That file goes when this ends."""
        self._file.write(f"{kind}/{name} {store.place}\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def end(self) -> None:
        """All of it has gone."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def sweep(folder: Path, store: Store) -> None:
    """Take away what openings left whose process was killed: keys, and locks of their hosts.

    What was left at a store elsewhere that is not ``store`` stays noted. Raises LabError.
    """
    for path in sorted(folder.glob("*")):
        with path.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # it is open now
            away = [line for line in file.read().splitlines() if not _swept(line, store)]
            if not away:
                path.unlink(missing_ok=True)


def _swept(line: str, store: Store) -> bool:
    words, _, place = line.partition(" ")
    kind, _, name = words.partition("/")
    if kind not in {"keys", "locks"} or not NAME.match(name):
        return True  # the last line of a run that died while it wrote it
    at: Store = FolderStore(Path(place)) if place.startswith("/") else store
    if at.place == place:
        at.remove(kind, name)
    return at.place == place


@contextmanager
def opened(door: Door, socket: Path) -> Iterator[None]:
    """Let somebody in by that socket, which only this user can reach, while the block runs."""
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    with _Server(str(socket), door) as server:
        socket.chmod(0o600)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            socket.unlink(missing_ok=True)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, socket: str, door: Door) -> None:
        self.door = door
        super().__init__(socket, _Request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke: restic tells, or tries again."""


class _Request(BaseHTTPRequestHandler):
    """One connection of restic."""

    protocol_version = "HTTP/1.1"
    timeout = _SILENT
    server: _Server
    _METHODS: ClassVar[frozenset[str]] = frozenset({"HEAD", "GET", "POST", "DELETE"})

    def _answer(self) -> None:
        said = self.headers.get("Authorization", "")
        wanted = base64.b64encode(f"{USER}:{self.server.door.credential}".encode()).decode()
        if not hmac.compare_digest(said.encode(), f"Basic {wanted}".encode()):
            self.close_connection = True
            self._say(HTTPStatus.UNAUTHORIZED)
            return
        words = self.path.partition("?")[0].strip("/").split("/")
        kind, name = (words[0], words[1] if len(words) > 1 else "")
        try:
            getattr(self, f"_{self.command.lower()}")(kind, name)
            self.server.door.went(None)
        except LabError as error:  # restic tries again; for how long is said by who opened the door
            self.server.door.went(error)
            self.close_connection = True
            self._say(HTTPStatus.BAD_GATEWAY)

    do_GET = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815 (the library's names)

    def _head(self, kind: str, name: str) -> None:
        self._get(kind, name)

    def _get(self, kind: str, name: str) -> None:
        door = self.server.door
        if kind in _LISTED and not name and self.path.endswith("/"):
            self._say(HTTPStatus.OK, json.dumps(door.lists(kind)).encode(), VERSION)
            return
        allowed = (
            kind == "config" if not name else bool(NAME.match(name)) and door.shows(kind, name)
        )
        content = door.store.read(kind, name) if allowed else None
        if content is None:
            self._say(HTTPStatus.NOT_FOUND)
            return
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span is None:
            self._say(HTTPStatus.OK, content)
            return
        end = int(span[2]) + 1 if span[2] else len(content)
        self._say(HTTPStatus.PARTIAL_CONTENT, content[int(span[1]) : end])

    def _post(self, kind: str, name: str) -> None:
        length = self.headers.get("Content-Length", "")
        fits = length.isdigit() and int(length) <= _LARGEST.get(kind, 0)
        if kind not in _ADDED or not NAME.match(name) or not fits:
            self.close_connection = True
            # who is still sending would see a cut connection instead of the answer
            self.rfile.read(min(int(length), _PIECE) if length.isdigit() else 0)
            self._say(HTTPStatus.FORBIDDEN)
            return
        self._say(self.server.door.keep(kind, name, self._body(int(length))))

    def _body(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self.rfile.read(min(left, _PIECE))
            if not piece:
                raise ConnectionError("cut off")
            left -= len(piece)
            self.server.door.received += len(piece)
            yield piece

    def _delete(self, kind: str, name: str) -> None:
        gone = kind == "locks" and self.server.door.unlock(name)
        self._say(HTTPStatus.OK if gone else HTTPStatus.FORBIDDEN)

    def _say(
        self, status: HTTPStatus, content: bytes = b"", kind: str = "application/octet-stream"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def address_string(self) -> str:
        """A socket has no address."""
        return "socket"

    def log_message(self, *_: object) -> None:
        """What came through is told by who opened the door."""


__all__ = ["USER", "Door", "Notes", "opened", "sweep"]
