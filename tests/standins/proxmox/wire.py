"""HTTP as the API speaks it: bodies in, reason phrases and connection rules out."""

from __future__ import annotations

import contextlib
import email.utils
import json
import re
import socket
import ssl
import struct
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from .calls import Upload

if TYPE_CHECKING:
    from .dispatch import Dispatcher

_API = "/api2/json"
_CONTROL = "/standin"


class Reply:
    """What goes back: a body that is empty, JSON, or kept back for good."""

    def __init__(self, status: int, reason: str, body: Any = None, *, reset: bool = False) -> None:
        self.status = status
        self.reason = reason
        self.body = body
        self.reset = reset


class Server(ThreadingHTTPServer):
    """The listening side; TLS is negotiated in each connection's own thread."""

    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(
        self,
        address: tuple[str, int],
        context: ssl.SSLContext,
        dispatcher: Dispatcher,
        folder: Path,
    ) -> None:
        self.context = context
        self.dispatcher = dispatcher
        self.folder = folder
        self.open: set[socket.socket] = set()
        super().__init__(address, Connection)

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection, its handshake still to come."""
        plain, address = super().get_request()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        secured = self.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        return secured, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, or does not trust us, is no news."""

    def close_connections(self) -> None:
        """Hang up on everybody."""
        for one in list(self.open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class Connection(BaseHTTPRequestHandler):
    """One client's connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60
    wbufsize = -1
    _verbs: ClassVar[set[str]] = {"GET", "POST", "PUT", "DELETE"}

    def setup(self) -> None:
        """Shake hands, in this thread."""
        self.server.open.add(self.request)
        self.request.settimeout(self.timeout)
        self.request.do_handshake()
        super().setup()

    def finish(self) -> None:
        """Close, and forget the connection."""
        self.server.open.discard(self.request)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: calls are recorded elsewhere."""

    def answer(self) -> None:
        """Read one request and answer it."""
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if self.headers.get_content_type() == "multipart/form-data":
            with tempfile.TemporaryDirectory(dir=self.server.folder) as scratch:
                reply = self._reply(path, parts.query, Path(scratch))
        else:
            reply = self._body_fault() or self._reply(path, parts.query, self.server.folder)
        self._send(reply)

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  the library's names

    def _body_fault(self) -> Reply | None:
        length = int(self.headers.get("Content-Length") or 0)
        if length and self.command not in {"PUT", "POST"}:
            self.rfile.read(length)
            text = f"Unexpected content for method '{self.command}'"
            return Reply(501, text, {"data": None, "message": text})
        return None

    def _reply(self, path: str, query: str, scratch: Path) -> Reply:
        dispatcher = self.server.dispatcher
        parameters, upload = self._parameters(query, scratch)
        if path.startswith(_CONTROL):
            return dispatcher.control(self.command, path.removeprefix(_CONTROL), parameters)
        if not path.startswith(_API):
            return Reply(404, f"no such file '{path}'")
        return dispatcher.api(
            self.command, path.removeprefix(_API) or "/", parameters, upload, self.headers
        )

    def _parameters(self, query: str, scratch: Path) -> tuple[dict[str, Any], Upload | None]:
        parameters = _form(query)
        length = int(self.headers.get("Content-Length") or 0)
        kind = self.headers.get_content_type()
        if not length:
            return parameters, None
        if kind == "multipart/form-data":
            boundary = str(self.headers.get_param("boundary"))
            fields, upload = _multipart(self.rfile, length, boundary, scratch)
            return parameters | fields, upload
        body = self.rfile.read(length)
        if kind == "application/json":
            return parameters | json.loads(body), None
        return parameters | _form(body.decode("utf-8", "replace")), None

    def _send(self, reply: Reply) -> None:
        if reply.reset:
            self._reset()
            return
        self.close_connection = self.close_connection or reply.status >= 400
        self.send_response_only(reply.status, _one_line(reply.reason))
        now = email.utils.formatdate(usegmt=True)
        body = b"" if reply.body is None else _json(reply.body)
        for name, value in (
            ("Cache-Control", "max-age=0"),
            ("Connection", "close" if self.close_connection else "Keep-Alive"),
            ("Date", now),
            ("Pragma", "no-cache"),
            ("Server", "pve-api-daemon/3.0"),
            ("Expires", now),
        ):
            self.send_header(name, value)
        if body or reply.status < 400:
            self.send_header("Content-Type", "application/json;charset=UTF-8")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _reset(self) -> None:
        """Let the kernel send a reset instead of an orderly end."""
        self.close_connection = True
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        plain = socket.socket(fileno=self.request.detach())
        plain.close()
        self.wfile = contextlib.nullcontext()  # type: ignore[assignment]
        raise ConnectionResetError("on purpose")


def _one_line(text: str) -> str:
    return (
        re.sub(r"\s*[\r\n]+\s*", " ", text).strip().encode("latin-1", "replace").decode("latin-1")
    )


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _form(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        if key in found:  # what is given twice is an array
            held = found[key]
            found[key] = [*held, value] if isinstance(held, list) else [held, value]
        else:
            found[key] = value
    return found


def _multipart(
    stream: Any, length: int, boundary: str, scratch: Path
) -> tuple[dict[str, Any], Upload | None]:
    """The fields of a form and its one file, which is written aside as it comes."""
    raw = scratch / "body"
    with raw.open("wb") as file:
        while length > 0 and (piece := stream.read(min(length, 1 << 20))):
            file.write(piece)
            length -= len(piece)
    fields: dict[str, Any] = {}
    upload = None
    mark = b"--" + boundary.encode()
    with raw.open("rb") as file:
        file.readline()
        while headers := _part_headers(file):
            name, filename = headers
            if filename is None:
                fields[name] = _until(file, mark).decode()
            else:
                target = scratch / "upload"
                size = _copy_until(file, mark, target)
                upload = Upload(filename, str(target), size)
                fields[name] = filename  # the file's own name is the parameter
    return fields, upload


def _part_headers(file: Any) -> tuple[str, str | None] | None:
    """The name and file name of the next part, None at the end."""
    text = ""
    while (line := file.readline()) and line.strip():
        text += line.decode("utf-8", "replace")
    if "name=" not in text:
        return None
    name = re.search(r'\bname="([^"]*)"', text)
    filename = re.search(r'\bfilename="([^"]*)"', text)
    return (name[1] if name else "", filename[1] if filename else None)


def _until(file: Any, mark: bytes) -> bytes:
    held = b""
    while line := file.readline():
        if line.startswith(mark):
            break
        held += line
    return held.removesuffix(b"\n").removesuffix(b"\r")


def _copy_until(file: Any, mark: bytes, target: Path) -> int:
    """Copy a file's bytes up to the mark, holding back the line's end that belongs to the mark."""
    size, held = 0, b""
    with target.open("wb") as out:
        while line := file.readline():
            if line.startswith(mark):
                held = held.removesuffix(b"\n").removesuffix(b"\r")
                break
            size += out.write(held)
            held = line
        size += out.write(held)
    return size
