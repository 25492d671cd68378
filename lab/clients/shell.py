"""One persistent POSIX shell on a host: the system's OpenSSH, or a local one, framed commands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to get a shell.

    Attributes:
        name: The host's name, for messages.
        kind: ``"ssh"``, or ``"local"`` for this machine (tests, and this machine as a host).
        host_key: ``"ssh-ed25519 AAAA…"``: the only key that is accepted. ``None``: the user's own
            known_hosts decides (strictly).
        identity_file: A private key to offer, or ``None`` for the user's agent and configuration.
    """

    name: str
    kind: Literal["ssh", "local"] = "ssh"
    address: str = ""
    port: int = 22
    user: str = ""
    host_key: str | None = None
    identity_file: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What one command left behind."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="replace")


class Shell:
    """One session with one host. Commands of several threads take turns."""

    def run(
        self,
        script: str,
        *,
        doing: str,
        stdin: bytes | Iterable[bytes] = b"",
        stdin_size: int | None = None,
        deadline: float = 60.0,
        root: bool = True,
        check: bool = True,
        hint: str = "",
        on_sent: Callable[[int], None] | None = None,
    ) -> Reply:
        """Run a POSIX sh script in a fresh subshell on the host, in one round trip.

        Args:
            script: Any length, any lines.
            doing: For messages: ``Unable to {doing} on {host}: …``.
            stdin: What the script reads; an iterable (with ``stdin_size``) is streamed.
            stdin_size: Bytes in the iterable.
            deadline: Seconds.
            root: As root, through sudo or doas where the login is not.
            check: Raise DriverError for a status other than 0.
            hint: For that error.
            on_sent: Called with the count of stdin bytes sent so far.

        Raises:
            TransportError: the host cannot be reached, or the connection broke.
            DriverError: the script failed (with ``check``).
            DeadlineExceeded, Interrupted.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End the session. May be called twice."""
        raise NotImplementedError


class Shells:
    """A pool: one :class:`Shell` an endpoint, opened on first use, reopened when it broke."""

    def __init__(self, runtime: Path, cancelled: threading.Event) -> None:
        raise NotImplementedError

    def to(self, endpoint: Endpoint) -> Shell:
        """The shell of that endpoint; connects at the first command, not here."""
        raise NotImplementedError

    def close(self) -> None:
        """Close all."""
        raise NotImplementedError
