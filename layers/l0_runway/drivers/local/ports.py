"""Who listens on this machine's ports: read from /proc, no program needed."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from layers.l0_runway.spec import Port, TakenPort

_PROC = Path("/proc")
_LISTENING = {"tcp": "0A", "udp": "07"}
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 (compared with, never bound)


@dataclass(frozen=True, slots=True)
class _Listener:
    protocol: str
    address: str
    number: int
    inode: str


def taken(ports: Iterable[Port], own: int | None, proc: Path = _PROC) -> tuple[TakenPort, ...]:
    """Those of ``ports`` that somebody listens on, other than the process ``own``."""
    wanted = tuple(ports)
    if not wanted:
        return ()
    ours = set(_sockets(proc / str(own))) if own is not None else set()
    listeners = [entry for entry in _listeners(proc) if entry.inode not in ours]
    found = []
    for port in wanted:
        holder = next((entry for entry in listeners if _collide(port, entry)), None)
        if holder is not None:
            found.append(TakenPort(port=port, holder=_holder(holder.inode, proc)))
    return tuple(found)


def _collide(port: Port, entry: _Listener) -> bool:
    if (port.protocol, port.number) != (entry.protocol, entry.number):
        return False
    return entry.address == port.address or bool(_EVERYWHERE & {entry.address, port.address})


def _listeners(proc: Path) -> Iterator[_Listener]:
    for name in ("tcp", "tcp6", "udp", "udp6"):
        protocol = name[:3]
        try:
            lines = (proc / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == _LISTENING[protocol]:
                address, _, number = words[1].partition(":")
                yield _Listener(protocol, _address(address), int(number, 16), words[9])


def _address(text: str) -> str:
    """The address that /proc/net writes as host-endian words in hex."""
    raw = b"".join(struct.pack("=I", int(text[i : i + 8], 16)) for i in range(0, len(text), 8))
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6  # noqa: PLR2004 (bytes of IPv4)
    return socket.inet_ntop(family, raw).removeprefix("::ffff:")


def _holder(inode: str, proc: Path) -> str:
    """``"nginx (pid 4711)"``; ``""`` where we may not see it."""
    for folder in proc.iterdir():
        if folder.name.isdigit() and inode in _sockets(folder):
            try:
                return f"{(folder / 'comm').read_text().strip()} (pid {folder.name})"
            except OSError:
                return f"pid {folder.name}"
    return ""


def _sockets(folder: Path) -> Iterator[str]:
    """Inodes of the sockets that a process holds."""
    try:
        descriptors = os.listdir(folder / "fd")  # noqa: PTH208 (ten times as fast, on every process)
    except OSError:
        return
    for descriptor in descriptors:
        try:
            link = os.readlink(folder / "fd" / descriptor)  # noqa: PTH115 (same)
        except OSError:
            continue
        if link.startswith("socket:["):
            yield link[8:-1]
