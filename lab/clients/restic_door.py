"""An append-only door to a restic repository that is a folder: restic's REST protocol on a socket.

Who comes in may add content, and read what adding needs: the configuration, one key, the index and
the locks. Nothing is overwritten or removed but a lock of its own; content and snapshots are never
handed out. The one snapshot that may be left is held back until :meth:`Door.admit`.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

from lab.errors import DriverError

USER = "strata"
_VERSION = "application/vnd.x.restic.rest.v2"
_NAME = re.compile(r"^[0-9a-f]{64}$")
_LISTED = frozenset({"keys", "locks", "index"})
_ADDED = frozenset({"data", "index", "snapshots", "locks"})
_LARGEST = {"data": 1 << 30, "index": 1 << 30, "snapshots": 1 << 20, "locks": 1 << 16}
_PIECE = 1 << 20
_SILENT = 600.0


class Door:
    """One opening of a repository, for one capture of one host.

    Attributes:
        key: The name of the one key that is shown.
        credential: What whoever comes must say; made for this opening alone.
        received: Bytes of content that came.
    """

    def __init__(self, folder: Path, key: str, notes: Notes) -> None:
        self.folder, self.key = folder, key
        self.credential = secrets.token_urlsafe(24)
        self.received = 0
        self._notes = notes
        self._snapshot: tuple[str, bytes] | None = None
        self._locks: set[str] = set()
        self._lock = threading.Lock()

    def place(self, kind: str, name: str) -> Path:
        """Where the folder holds that file."""
        return self.folder / kind / name[:2] / name if kind == "data" else self.folder / kind / name

    def lists(self, kind: str) -> list[dict[str, str | int]]:
        """What is shown of a kind: names and sizes."""
        found: list[dict[str, str | int]] = []
        with contextlib.suppress(FileNotFoundError):
            for entry in sorted(os.scandir(self.folder / kind), key=lambda e: e.name):
                if _NAME.match(entry.name) and (kind != "keys" or entry.name == self.key):
                    with contextlib.suppress(FileNotFoundError):  # a lock that has just gone
                        found.append({"name": entry.name, "size": entry.stat().st_size})
        return found

    def shows(self, kind: str, name: str) -> bool:
        """Whether that may be read."""
        return kind in {"index", "locks"} or (kind == "keys" and name == self.key)

    def keep(self, kind: str, name: str, body: Iterator[bytes]) -> HTTPStatus:
        """Take in one file; only what is called by the hash of its content, and is not there."""
        if kind == "snapshots":
            return self._hold_back(name, b"".join(body))
        place = self.place(kind, name)
        if place.exists():
            for _ in body:
                pass
            return HTTPStatus.FORBIDDEN
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if kind == "locks":
            self._locks.add(name)
            self._notes.add(place)
        new = place.with_name(f".{name}.{secrets.token_hex(4)}")
        try:
            if not _written(new, body, name):
                return HTTPStatus.BAD_REQUEST
            os.link(new, place)  # never over one that came meanwhile
        except FileExistsError:
            return HTTPStatus.FORBIDDEN
        finally:
            new.unlink(missing_ok=True)
        _flush(place.parent)
        return HTTPStatus.OK

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
        self.place("locks", name).unlink(missing_ok=True)
        return True

    def admit(self, name: str) -> None:
        """Let the snapshot in that was held back. Raises DriverError where it is another one."""
        if self._snapshot is None or self._snapshot[0] != name:
            raise DriverError(f"Unable to store what was pushed: no snapshot {name[:8]} came.")
        place = self.place("snapshots", name)
        new = place.with_name(f".{name}")
        _written(new, iter([self._snapshot[1]]), name)
        new.replace(place)
        _flush(place.parent)

    def retract(self, name: str) -> None:
        """Take the snapshot away again that was let in."""
        self.place("snapshots", name).unlink(missing_ok=True)

    def shut(self) -> None:
        """Take away the key, and locks that were left."""
        for name in self._locks:
            self.place("locks", name).unlink(missing_ok=True)
        self.place("keys", self.key).unlink(missing_ok=True)


class Notes:
    """What must be taken away again, written down before it is there: a killed run leaves it.

    One file an opening, held locked while its process lives.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / secrets.token_hex(8)
        self._file = self._path.open("x", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def add(self, path: Path) -> None:
        """That file goes when this ends."""
        self._file.write(f"{path}\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def end(self) -> None:
        """All of it has gone."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def sweep(folder: Path) -> None:
    """Take away what openings left whose process was killed: keys, and locks of their hosts."""
    for path in sorted(folder.glob("*")):
        with path.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # it is open now
            for line in file.read().splitlines():
                if Path(line).parent.name in {"keys", "locks"} and _NAME.match(Path(line).name):
                    Path(line).unlink(missing_ok=True)
            path.unlink(missing_ok=True)


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
        getattr(self, f"_{self.command.lower()}")(kind, name)

    do_GET = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815 (the library's names)

    def _head(self, kind: str, name: str) -> None:
        self._get(kind, name)

    def _get(self, kind: str, name: str) -> None:
        door = self.server.door
        if kind in _LISTED and not name and self.path.endswith("/"):
            self._say(HTTPStatus.OK, json.dumps(door.lists(kind)).encode(), _VERSION)
            return
        allowed = (
            kind == "config" if not name else bool(_NAME.match(name)) and door.shows(kind, name)
        )
        try:
            content = (door.place(kind, name) if name else door.folder / kind).read_bytes() \
                if allowed else None  # fmt: skip
        except FileNotFoundError:
            content = None
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
        if kind not in _ADDED or not _NAME.match(name) or not fits:
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


def _written(path: Path, body: Iterator[bytes], name: str) -> bool:
    """Write it durably; whether its content has that name. Raises what ``body`` raises."""
    whole = hashlib.sha256()
    with path.open("xb") as file:
        os.fchmod(file.fileno(), 0o400)
        for piece in body:
            whole.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return whole.hexdigest() == name


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


__all__ = ["USER", "Door", "Notes", "opened", "sweep"]
