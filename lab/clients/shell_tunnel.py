"""A way from a host back to a socket of this machine, through a connection of its own."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.clients.shell import Shell
from lab.clients.shell_ssh import explain, known_hosts, tunnel_line, write_known_hosts
from lab.errors import DriverError, Interrupted, TransportError

_PATIENCE = 30.0
_TICK = 0.1
_MADE = 'd=$(mktemp -d /tmp/.strata-door-XXXXXX) && echo "$d"'


@dataclass(frozen=True, slots=True)
class Way:
    """A way back: ``path`` is the socket on the host."""

    name: str
    path: str
    process: subprocess.Popen[bytes] | None = None

    def check(self) -> None:
        """Raise TransportError where it is cut."""
        if self.process is not None and self.process.poll() is not None:
            raise TransportError(
                f"Unable to go on with {self.name}: the way back from it was cut.",
                hint="the same command again",
            )


@contextmanager
def tunnel(shell: Shell, socket: Path, runtime: Path, cancelled: threading.Event) -> Iterator[Way]:
    """A socket on the host that leads to ``socket`` here, while the block runs.

    Only the login's user and root can use it there. Raises TransportError where the host cannot be
    reached, and DriverError where its sshd forwards nothing.
    """
    endpoint = shell.endpoint
    if endpoint.kind == "local":
        yield Way(endpoint.name, str(socket))
        return
    if endpoint.kind != "ssh":
        raise DriverError(
            f"Unable to open a way back from {endpoint.name}: it is not reached by ssh."
        )
    doing = "open a way back"
    folder = shell.run(_MADE, doing=doing, root=False).text.strip()
    there = f"{folder}/s"
    known = known_hosts(endpoint, runtime, anew=True)
    if known is not None:
        known = known.with_name(f"{known.name}-back")
        write_known_hosts(endpoint, known)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            tunnel_line(endpoint, known, there, str(socket)),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
            start_new_session=True,
        )  # fmt: skip
        try:
            ends = time.monotonic() + _PATIENCE
            while shell.run(f"[ -S {there} ]", doing=doing, root=False, check=False).status != 0:
                if cancelled.wait(_TICK):
                    raise Interrupted("Interrupted.", hint="the same command again")
                said.seek(0)
                words = said.read().decode(errors="replace")
                if process.poll() is not None:
                    why = explain(endpoint, process.returncode, words)
                    raise TransportError(
                        f"Unable to {doing} from {endpoint.name}: {why.cause}.", hint=why.hint
                    )
                if "forwarding failed" in words or time.monotonic() > ends:
                    raise DriverError(
                        f"Unable to {doing} from {endpoint.name}: its sshd forwards no sockets.",
                        hint="AllowStreamLocalForwarding yes in its sshd_config; or route: pull",
                    )
            yield Way(endpoint.name, there, process)
        finally:
            process.kill()
            process.wait()
            if known is not None:
                known.unlink(missing_ok=True)
            with contextlib.suppress(Exception):  # the host may be gone: its /tmp is its own
                shell.run(f"rm -rf {folder}", doing=doing, root=False, check=False)


__all__ = ["Way", "tunnel"]
