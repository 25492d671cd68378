"""Ask a workload whether it does its work, as its users would: over the network."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass

from layers.l4_workload.spec import Health

_ANSWER_BYTES = 65536
_SECONDS = 5.0
_QUIET_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it is healthy (``None``: it could not be asked), and what was answered."""

    healthy: bool | None
    answer: str


UNKNOWN = Verdict(None, "")


def ask(health: Health, place: str) -> Verdict:
    """One try from this machine; ``place`` is ``host:port``. Takes five seconds at most."""
    address, _, port = place.rpartition(":")
    try:
        if health.http is not None:
            return _ask_http(health, address.strip("[]"), int(port))
        return _ask_tcp(address.strip("[]"), int(port))
    except TimeoutError:
        return Verdict(False, f"no answer within {_SECONDS:.0f} s")
    except ConnectionRefusedError:
        return Verdict(False, "connection refused")
    except (OSError, http.client.HTTPException) as error:
        closed = isinstance(error, (ConnectionError, http.client.RemoteDisconnected))
        return Verdict(False, "connection closed" if closed else str(error) or "no answer")


def judge(health: Health, status: int | None, page: str) -> Verdict:
    """The verdict on an answer that the host itself fetched (0 stands for no answer)."""
    if status is None:
        return UNKNOWN
    if health.http is None:
        return Verdict(bool(status), "open" if status else "connection refused")
    if status == 0:
        return Verdict(False, "no answer")
    if status != health.status:
        return Verdict(False, str(status))
    if health.contains and health.contains not in page:
        return Verdict(False, f"{status}, without {health.contains!r}")
    return Verdict(True, str(status))


def _ask_http(health: Health, address: str, port: int) -> Verdict:
    connection = http.client.HTTPConnection(address, port, timeout=_SECONDS)
    try:
        connection.request("GET", health.path, headers={"User-Agent": "strata"})
        response = connection.getresponse()
        page = response.read(_ANSWER_BYTES).decode(errors="replace")
        return judge(health, response.status, page)
    finally:
        connection.close()


def _ask_tcp(address: str, port: int) -> Verdict:
    """A forwarded port accepts every connection and closes it at once when nobody is behind it."""
    with socket.create_connection((address, port), timeout=_SECONDS) as connection:
        connection.settimeout(_QUIET_SECONDS)
        try:
            closed = connection.recv(1) == b""
        except TimeoutError:
            closed = False  # a server that waits for its client to speak first
    return Verdict(not closed, "connection closed" if closed else "open")
