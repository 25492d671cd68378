"""Ports of this machine: which are free, and whether an SSH server answers behind one."""

from __future__ import annotations

import socket

from lab.errors import DriverError
from layers.l2_instantiate.ports import LOOPBACK, Forward

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def is_free(forward: Forward) -> bool:
    """Whether one could listen there now."""
    with socket.socket(socket.AF_INET, _KINDS[forward.protocol]) as probe:
        if forward.protocol == "tcp":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((forward.bind, forward.host))
        except OSError:
            return False
    return True


def pick_port() -> int:
    """A port of the loopback that is free at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def taken(forward: Forward, host: str) -> DriverError:
    """The error for a port that somebody else has."""
    listing = "-ltnp" if forward.protocol == "tcp" else "-lunp"
    return DriverError(
        f"Unable to give {host} its port {forward.host}: another program listens at "
        f"{forward.claim}.",
        hint=f"ss {listing} 'sport = :{forward.host}' (or another port in machine.ports)",
    )


def speaks_ssh(port: int, timeout: float = 1.0, address: str = LOOPBACK) -> bool:
    """Whether an SSH server sends its banner.

    Connecting alone proves nothing: QEMU and Docker take every connection and only then ask the
    guest.
    """
    try:
        with socket.create_connection((address, port), timeout) as connection:
            connection.settimeout(timeout)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
