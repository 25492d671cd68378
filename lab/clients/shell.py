"""One persistent POSIX shell on a host, by OpenSSH, in a container or local: framed commands.

The host needs sshd (a container does not), a POSIX sh, and head, dd and cat of coreutils or
busybox: nothing is copied there. A command that loses its connection may still run to its end on
the host.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.clients import shell_ahead
from lab.clients.shell_session import Command, OverdueError, Session, SessionEndedError
from lab.clients.shell_ssh import (
    Endpoint,
    command_line,
    explain,
    known_hosts,
    known_line,
    write_known_hosts,
)
from lab.errors import (
    DeadlineExceeded,
    DriverError,
    Interrupted,
    TransportError,
    UnknownHostKey,
)
from lab.masking import mask

__all__ = ["Endpoint", "Reply", "Shell", "Shells", "shells"]

_TICK = 0.2
_PIECE = 65536
_KEPT_LINES = 20


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

    @property
    def lines(self) -> tuple[str, ...]:
        """The last lines of standard error, secrets masked."""
        return _lines(self.stderr)


def _lines(stderr: bytes) -> tuple[str, ...]:
    text = mask(stderr.decode(errors="replace").replace("\r", "\n"))
    return tuple(line for line in text.splitlines() if line.strip())[-_KEPT_LINES:]


class Shell:
    """The sessions with one host. Commands of several threads take turns.

    With ``anew`` its connections are its own, whatever the user's ssh shares otherwise.
    """

    def __init__(
        self, endpoint: Endpoint, runtime: Path, cancelled: threading.Event, *, anew: bool = False
    ) -> None:
        self.endpoint = endpoint
        self._anew = anew
        self._known = known_hosts(endpoint, runtime, anew=anew)
        self._cancelled = cancelled
        self._sessions: dict[bool, Session] = {}
        self._turn = threading.Lock()

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
        sink: Callable[[bytes], None] | None = None,
    ) -> Reply:
        """Run a POSIX sh script in a fresh subshell on the host, in one round trip.

        Args:
            script: Any length, any lines.
            doing: For messages: ``Unable to {doing} on {host}: …``.
            stdin: What the script reads; an iterable (with ``stdin_size``) is streamed.
            stdin_size: Bytes in the iterable.
            deadline: Seconds; with a ``sink``, since anything came last.
            root: As root, through sudo or doas where the login is not.
            check: Raise DriverError for a status other than 0.
            hint: For that error.
            on_sent: Called with the count of stdin bytes sent so far.
            sink: Given what the script writes, piece by piece, of any length; the reply then holds
                none of it. What it raises ends the session, and is raised.

        Raises:
            TransportError: the host cannot be reached, or the connection broke.
            UnknownHostKey: something answers that does not show the host key on record.
            DriverError: the script failed (with ``check``).
            DeadlineExceeded, Interrupted.
        """
        if "\0" in script:
            raise ValueError("a script holds no NUL")
        if isinstance(stdin, bytes):
            whole = stdin
            stdin_size = len(whole)
            stdin = (whole[i : i + _PIECE] for i in range(0, stdin_size, _PIECE))
        elif stdin_size is None:
            raise ValueError("an iterable stdin needs its stdin_size")
        command = Command(script.encode() + b"\n", stdin, stdin_size, deadline, on_sent, sink)
        self._take_turn()
        try:
            status, out, err = self._exchange(command, doing, as_root=root)
        finally:
            self._turn.release()
        reply = Reply(status, out, err)
        if check and status != 0:
            raise self._failed(reply, doing, hint)
        return reply

    def hang_up(self) -> None:
        """Let the sessions end by themselves; :meth:`close` waits for them."""
        for session in list(self._sessions.values()):
            session.hang_up()

    def close(self) -> None:
        """End the sessions. May be called twice."""
        for root in list(self._sessions):
            self._drop(root)
        if self._known is not None:
            self._known.unlink(missing_ok=True)

    def _take_turn(self) -> None:
        while not self._turn.acquire(timeout=_TICK):
            if self._cancelled.is_set():
                raise Interrupted("Interrupted.", hint="the same command again; it resumes")

    def _exchange(self, command: Command, doing: str, *, as_root: bool) -> tuple[int, bytes, bytes]:
        root = as_root and self.endpoint.user != "root"
        name = self.endpoint.name
        try:
            return self._session(root).run(command, self._cancelled)
        except SessionEndedError as ended:
            self._drop(root)
            why = explain(self.endpoint, ended.status, ended.noise)
            kind = DriverError if why.reached else TransportError
            kind = UnknownHostKey if why.stranger else kind
            raise kind(
                f"Unable to {doing} on {name}: {why.cause}.",
                hint=why.hint,
                status=ended.status,
                lines=_lines(ended.noise.encode()),
            ) from ended
        except OverdueError as overdue:
            self._drop(root)
            lines = _lines(overdue.stderr)
            if overdue.started:
                raise DeadlineExceeded(
                    f"Unable to {doing} on {name}: not done after {command.deadline:.0f} s.",
                    lines=lines,
                ) from overdue
            raise TransportError(
                f"Unable to {doing} on {name}: no answer within {command.deadline:.0f} s.",
                hint=f"lab status host={name}",
                lines=lines,
            ) from overdue
        except FileNotFoundError as missing:
            raise DriverError(
                f"Unable to {doing} on {name}: {missing.filename} is not installed here.",
                hint="lab doctor",
            ) from missing
        except BaseException:
            self._drop(root)
            raise

    def _session(self, root: bool) -> Session:  # noqa: FBT001 (the key of the table)
        session = self._sessions.get(root)
        if session is not None and session.alive:
            return session
        self._drop(root)
        if self._known is not None:
            write_known_hosts(self.endpoint, self._known)
        argv = command_line(self.endpoint, self._known, root=root, anew=self._anew)
        secret = self.endpoint.sudo_password if root else None
        session = self._ahead(argv) if secret is None else None
        if session is None:
            session = Session(argv, secret.reveal() if secret is not None else None)
        self._sessions[root] = session
        return session

    def _ahead(self, argv: list[str]) -> Session | None:
        """One that was opened while the program was loading; a new connection never is."""
        if self._anew or self.endpoint.kind != "ssh":
            return None
        line = known_line(self.endpoint) if self._known is not None else ""
        shell_ahead.note(argv, self._known, line)
        return shell_ahead.take(argv)

    def _drop(self, root: bool) -> None:  # noqa: FBT001
        session = self._sessions.pop(root, None)
        if session is not None:
            session.end()

    def _failed(self, reply: Reply, doing: str, hint: str) -> DriverError:
        lines = reply.lines
        last = lines[-1].strip().rstrip(".") if lines else f"it ended with status {reply.status}"
        return DriverError(
            f"Unable to {doing} on {self.endpoint.name}: {last}.",
            hint=hint,
            status=reply.status,
            lines=lines,
        )


class Shells:
    """A pool: one :class:`Shell` an endpoint, opened on first use, reopened when it broke."""

    def __init__(self, runtime: Path, cancelled: threading.Event) -> None:
        self._runtime = runtime
        self._cancelled = cancelled
        self._shells: dict[Endpoint, Shell] = {}
        self._lock = threading.Lock()

    def to(self, endpoint: Endpoint) -> Shell:
        """The shell of that endpoint; connects at the first command, not here."""
        with self._lock:
            shell = self._shells.get(endpoint)
            if shell is None:
                shell = self._shells[endpoint] = Shell(endpoint, self._runtime, self._cancelled)
            return shell

    def anew(self, endpoint: Endpoint) -> Shell:
        """A shell over a new connection; the caller closes it, or lets it be adopted."""
        return Shell(endpoint, self._runtime, self._cancelled, anew=True)

    def adopt(self, shell: Shell) -> None:
        """Let everybody use this shell from now on; the one that was there before is closed."""
        with self._lock:
            before = self._shells.get(shell.endpoint)
            self._shells[shell.endpoint] = shell
        if before is not None:
            before.close()

    def close(self) -> None:
        """Close all."""
        with self._lock:
            shells = list(self._shells.values())
            self._shells.clear()
        for shell in shells:  # all at once, as each takes its time
            shell.hang_up()
        for shell in shells:
            with contextlib.suppress(OSError):
                shell.close()


class _Place(Protocol):
    """What :func:`shells` needs of a workspace."""

    @property
    def runtime(self) -> Path: ...
    @property
    def cancelled(self) -> threading.Event: ...


def shells(workspace: _Place) -> Shells:
    """The pool that all layers of a run share: ``workspace.resource(shells)``."""
    return Shells(workspace.runtime, workspace.cancelled)
