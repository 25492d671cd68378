"""The last lines that a container wrote."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from layers.l4_workload.remote.probe import SOCKET

_HEADER = 8
_STREAMS = (0, 1, 2)


def script(identity: str, count: int) -> str:
    """Write the last ``count`` lines of that container, framed by the engine or plain."""
    url = f"http://localhost/containers/{identity}/logs?stdout=1&stderr=1&tail={count}"
    return (
        "if command -v curl >/dev/null 2>&1; then "
        f"curl -sS --max-time 10 --unix-socket {SOCKET} {shlex.quote(url)}; "
        f"else docker logs --tail {count} {shlex.quote(identity)} 2>&1; fi"
    )


def parse(output: bytes) -> tuple[str, ...]:
    """The lines, oldest first."""
    text = b"".join(_unframed(output)).decode(errors="replace").replace("\r", "")
    return tuple(line for line in text.splitlines() if line.strip())


def _unframed(output: bytes) -> Iterator[bytes]:
    """Take the engine's frames apart (stream, three zeros, length); what is not framed is text."""
    at = 0
    while at < len(output):
        header = output[at : at + _HEADER]
        framed = len(header) == _HEADER and header[0] in _STREAMS and header[1:4] == b"\0\0\0"
        if not framed:
            yield output[at:]
            return
        length = int.from_bytes(header[4:], "big")
        yield output[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
