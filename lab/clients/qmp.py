"""QEMU's monitor protocol (QMP) over a unix socket: JSON lines, one client at a time."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.errors import DriverError, TransportError


class Qmp:
    """One session with one QEMU. Not for several threads.

    Events are skipped: who waits for something watches the process or asks again.

    Raises, from every method:
        TransportError: nothing listens, the other side hung up, or said nothing in time.
        DriverError: QEMU refused the command.
    """

    def __init__(self, path: Path, name: str, timeout: float = 5.0) -> None:
        """Connect and negotiate.

        Args:
            path: The socket.
            name: The machine's name, for messages.
            timeout: Seconds for connecting, and for each answer.
        """
        self._name = name
        self._timeout = timeout
        self._pending = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(str(path))
            self._read()  # the greeting
            self.execute("qmp_capabilities")
        except OSError as error:
            self.close()
            raise self._lost(error.strerror or str(error)) from error
        except BaseException:
            self.close()
            raise

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run one command and return what it returns."""
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise self._lost(error.strerror or str(error)) from error
        while True:
            answer = self._read()
            if "error" in answer:
                why = str(answer["error"].get("desc", answer["error"])).rstrip(".")
                raise DriverError(f"Unable to run {command} on {self._name}: {why}.")
            if "return" in answer:
                return answer["return"]

    def monitor(self, line: str) -> str:
        """Run one line of the human monitor; what it printed, which is also how it complains."""
        return str(self.execute("human-monitor-command", **{"command-line": line}))

    def tell(self, command: str) -> None:
        """Run a command that may end QEMU before it answers: a lost answer is no failure."""
        with contextlib.suppress(TransportError):
            self.execute(command)

    def close(self) -> None:
        """Hang up. May be called twice."""
        self._socket.close()

    def __enter__(self) -> Self:
        """The session itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up."""
        self.close()

    def _read(self) -> dict[str, Any]:
        ends = time.monotonic() + self._timeout
        while b"\n" not in self._pending:
            if time.monotonic() > ends:
                raise self._lost("no answer")
            try:
                piece = self._socket.recv(65536)
            except OSError as error:
                raise self._lost(error.strerror or str(error)) from error
            if not piece:
                raise self._lost("it hung up")
            self._pending += piece
        line, self._pending = self._pending.split(b"\n", 1)
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise self._lost("it does not speak QMP") from error
        if not isinstance(answer, dict):
            raise self._lost("it does not speak QMP")
        return answer

    def _lost(self, why: str) -> TransportError:
        return TransportError(
            f"Unable to speak with the QEMU of {self._name}: {why.rstrip('.')}.",
            hint="lab doctor",
        )
