"""The recorded exchanges again, in their order, against a stand-in seeded like that node."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlencode

from tests.standins.proxmox import ProxmoxStandIn

from . import Miss, Score, compare, lines, node

_UPID = re.compile(r"UPID(?::|%3A)[^/\"?]+?(?::|%3A)(?=/|$|\"|\?)")
_HEADERS = ("Cache-Control", "Connection", "Content-Type", "Pragma", "Server")
_UPLOADS = {
    "upload-iso": ("iso", "x.iso", b"\0" * 512),
    "upload-snippet-rejected": ("snippets", "x.yaml", b"#cloud-config\n"),
}
_PATIENCE = 30


@dataclass
class _Replay:
    standin: ProxmoxStandIn
    port: int
    upids: dict[str, str] = field(default_factory=dict)


def score() -> Score:
    """Every recorded request once more: status, reason, headers, shape and stable values."""
    found = Score()
    with node.web_server() as port, node.as_recorded() as standin:
        replay = _Replay(standin, port)
        for number, record in enumerate(lines("recordings.jsonl"), 1):
            where = f"recording {number} {record['label']}"
            if by_hand := node.BY_HAND.get(record["label"]):
                by_hand(standin)
            _compare(found, where, record, _ask(replay, record))
    return found


@dataclass(frozen=True)
class _Answer:
    status: int
    reason: str
    headers: dict[str, str]
    json: Any


def _ask(replay: _Replay, record: dict[str, Any]) -> _Answer:
    answer = _send(replay, record)
    if record["label"].endswith(".status"):
        until = time.monotonic() + _PATIENCE
        while answer.json["data"]["status"] == "running" and time.monotonic() < until:
            time.sleep(0.01)
            answer = _send(replay, record)
    elif record["label"].endswith(".status0"):
        # How soon a task is over is chance; the stand-in always says "running" once.
        wanted = record["response"]["json"]["data"]["status"]
        if wanted == "stopped":
            answer = _ask(replay, {**record, "label": "again.status"})
    theirs = record["response"]["json"]
    if theirs and answer.json and str(theirs.get("data")).startswith("UPID:"):
        replay.upids[theirs["data"]] = answer.json["data"]
    return answer


def _send(replay: _Replay, record: dict[str, Any]) -> _Answer:
    request = record["request"]
    method = request["method"]
    path = _UPID.sub(lambda one: _ours(replay, one[0]), request["path"])
    headers = {"Accept": "application/json"}
    if "Authorization" in request["headers"]:
        headers["Authorization"] = f"PVEAPIToken={replay.standin.token}"
    if replay.upids or "url" in path:
        path = path.replace("127.0.0.1%3A9000", f"127.0.0.1%3A{replay.port}")
    body = None
    if upload := _UPLOADS.get(record["label"]):
        body = _multipart(*upload)
        headers |= {"Content-Type": request["headers"]["Content-Type"], "Connection": "close"}
    elif method in {"POST", "PUT"} and request["form"]:
        form = {key: _local(replay, value) for key, value in request["form"].items()}
        body = urlencode(form).encode()
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    context = ssl.create_default_context(cafile=str(replay.standin.certificate))
    connection = http.client.HTTPSConnection(
        "127.0.0.1", replay.standin.port, context=context, timeout=_PATIENCE
    )
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        return _Answer(
            answer.status, answer.reason, dict(answer.headers), json.loads(text) if text else None
        )
    finally:
        connection.close()


def _ours(replay: _Replay, recorded: str) -> str:
    plain = unquote(recorded)
    return quote(replay.upids.get(plain, plain), safe=":")


def _local(replay: _Replay, value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("127.0.0.1:9000", f"127.0.0.1:{replay.port}")
    return value


def _multipart(content: str, name: str, body: bytes) -> bytes:
    parts = (
        f'--BNDRY\r\nContent-Disposition: form-data; name="content"\r\n\r\n{content}\r\n'
        f'--BNDRY\r\nContent-Disposition: form-data; name="filename"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return parts.encode() + body + b"\r\n--BNDRY--\r\n"


def _compare(found: Score, where: str, record: dict[str, Any], ours: _Answer) -> None:
    real = record["response"]
    found.count("status", _unless(where, "status", real["status"], ours.status))
    found.count(
        "reason", _unless(where, "reason", *map(compare.masked, (real["reason"], ours.reason)))
    )
    theirs = {key: real["headers"].get(key) for key in _HEADERS}
    found.count(
        "headers",
        _unless(where, "headers", theirs, {key: ours.headers.get(key) for key in _HEADERS}),
    )
    found.count("shape", list(_misses(where, "shape", real["json"], ours.json)))
    found.count("values", list(_misses(where, "values", real["json"], ours.json)))


def _misses(where: str, aspect: str, real: Any, ours: Any) -> Iterator[Miss]:
    for path, one, other in getattr(compare, aspect)(real, ours):
        yield Miss(f"{where} {path}", aspect, one, other)


def _unless(where: str, aspect: str, real: Any, ours: Any) -> list[Miss]:
    return [] if real == ours else [Miss(where, aspect, real, ours)]
