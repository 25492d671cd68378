"""One running session: a process whose pipes carry framed commands and framed answers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from lab.clients.shell_root import BECAME, PROMPT, WRONG
from lab.errors import Interrupted

_TICK = 0.2
_PIECE = 65536
_STREAM = 1 << 20  # what a pipe holds while a stream comes
_SWALLOW = 1 << 18  # what is read of it at once: stays in a processor's own cache
_TAIL = 65536  # nothing but noise of the host can follow the mark: it is looked for there only
_GRACE = 2.0


def widen(pipe: int) -> None:
    """Let a pipe hold more: fewer turns between the programs at its ends."""
    with contextlib.suppress(OSError):  # a user has only so many; a smaller one works, too
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _STREAM)


class SessionEndedError(Exception):
    """The process behind the session ended; ``noise`` is what it wrote outside of answers."""

    def __init__(self, status: int | None, noise: str) -> None:
        super().__init__(noise)
        self.status = status
        self.noise = noise


class OverdueError(Exception):
    """The command was not done in time; ``started`` tells whether the host began with it."""

    def __init__(self, *, started: bool, stderr: bytes) -> None:
        super().__init__()
        self.started = started
        self.stderr = stderr


@dataclass(frozen=True, slots=True)
class Command:
    """What goes over in one frame.

    ``size`` is the exact count of bytes that ``stdin`` yields. With a ``sink`` what the script
    writes goes there as it comes, and the deadline is how long nothing may come.
    """

    script: bytes
    stdin: Iterable[bytes]
    size: int
    deadline: float
    on_sent: Callable[[int], None] | None = None
    sink: Callable[[bytes], None] | None = None

    @property
    def patience(self) -> float:
        """Until when something more must have come, now that something came."""
        return time.monotonic() + self.deadline if self.sink is not None else 0.0


@dataclass(slots=True)
class _Stream:
    """One of the two streams that come back: finds the command's part between its marks."""

    nonce: bytes
    sink: Callable[[bytes], None] | None = None
    before: bytearray = field(default_factory=bytearray)
    body: bytearray = field(default_factory=bytearray)
    started: bool = False
    status: int | None = None
    _searched: int = 0

    def take(self, piece: bytes) -> None:
        if not self.started:
            self.before += piece
            at = self.before.find(self.nonce + b"\n")
            if at < 0:
                return
            self.started = True
            piece = bytes(self.before[at + len(self.nonce) + 1 :])
            del self.before[at:]
        if self.sink is not None:
            self._pass_on(piece, self.sink)
            return
        self.body += piece
        mark = b"\n" + self.nonce + b" "
        at = self.body.find(mark, self._searched)
        self._searched = max(0, len(self.body) - len(mark))
        if at >= 0:
            self._searched = at
            end = self.body.find(b"\n", at + len(mark))
            if end >= 0:
                self.status = int(self.body[at + len(mark) : end])
                del self.body[at:]

    def _pass_on(self, piece: bytes, sink: Callable[[bytes], None]) -> None:
        """Everything that cannot be part of the mark that ends it, without copying it."""
        mark = b"\n" + self.nonce + b" "
        if self.body:
            piece = bytes(self.body) + piece
            self.body.clear()
        at = piece.find(mark, max(0, len(piece) - _TAIL))
        cut = at if at >= 0 else _before(piece, mark)
        self.body += piece[cut:]
        if cut:
            sink(piece[:cut])
        end = self.body.find(b"\n", len(mark)) if at >= 0 else -1
        if end >= 0:
            self.status = int(self.body[len(mark) : end])
            self.body.clear()


def _before(piece: bytes, mark: bytes) -> int:
    """Where the piece's end may be the beginning of the mark; its length where it cannot."""
    tail = piece[-(len(mark) - 1) :]
    start = tail.find(b"\n")
    while start >= 0 and not mark.startswith(tail[start:]):
        start = tail.find(b"\n", start + 1)
    return len(piece) if start < 0 else len(piece) - len(tail) + start


class Session:
    """A process that was started for one host and one user. One thread at a time."""

    def __init__(self, argv: list[str], password: str | None = None) -> None:
        """Start it. Raises OSError where the program is missing.

        With a ``password`` nothing is sent before the program either asks for it (then it is
        given, once) or says that it needs none.
        """
        self._password = password
        # a session of its own: Ctrl-C at the terminal must not reach it before we decide
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin is not None  # noqa: S101 (opened above)
        os.set_blocking(self._process.stdin.fileno(), False)

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def run(self, command: Command, cancelled: threading.Event) -> tuple[int, bytes, bytes]:
        """Exchange one command for (status, stdout, stderr).

        After any exception the session is out of step and MUST be ended.

        Raises:
            SessionEndedError, OverdueError, Interrupted; ValueError where ``size`` was wrong.
        """
        nonce = secrets.token_hex(16).encode()
        out, err = self._streams(nonce, command)
        pieces = self._pieces(nonce, command)
        ends = time.monotonic() + command.deadline
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        assert self._process.stderr is not None  # noqa: S101
        self._become_root(ends, cancelled)
        waiting = memoryview(b"")
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdin, selectors.EVENT_WRITE)
            selector.register(self._process.stdout, selectors.EVENT_READ, out)
            selector.register(self._process.stderr, selectors.EVENT_READ, err)
            while out.status is None or err.status is None:
                if cancelled.is_set():
                    raise Interrupted("Interrupted.", hint="the same command again; it resumes")
                if time.monotonic() > ends:
                    raise OverdueError(started=out.started, stderr=bytes(err.body))
                for key, _ in selector.select(_TICK):
                    if key.data is not None:
                        self._receive(key, selector, out, err)
                        ends = max(ends, command.patience)
                        continue
                    if not waiting:
                        waiting = memoryview(next(pieces, b""))
                    if not waiting:
                        selector.unregister(key.fileobj)
                        continue
                    try:
                        waiting = waiting[os.write(key.fd, waiting[:_PIECE]) :]
                    except BlockingIOError:
                        continue
                    except BrokenPipeError:
                        selector.unregister(key.fileobj)  # what it wrote before tells why
        return out.status, bytes(out.body), bytes(err.body)

    def _streams(self, nonce: bytes, command: Command) -> tuple[_Stream, _Stream]:
        assert self._process.stdout is not None  # noqa: S101
        if command.sink is not None:
            widen(self._process.stdout.fileno())
        return _Stream(nonce, command.sink), _Stream(nonce)

    def _become_root(self, ends: float, cancelled: threading.Event) -> None:
        """Answer the first prompt; a second one means that the password is wrong."""
        password, self._password = self._password, None
        if password is None:
            return
        process = self._process
        assert process.stdin is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        noise, sent = bytearray(), False
        with selectors.DefaultSelector() as selector:
            selector.register(process.stderr, selectors.EVENT_READ)
            while f"{BECAME}\n".encode() not in noise:
                if cancelled.is_set():
                    raise Interrupted("Interrupted.", hint="the same command again; it resumes")
                if time.monotonic() > ends:
                    raise OverdueError(started=False, stderr=bytes(noise))
                if not selector.select(_TICK):
                    continue
                piece = os.read(process.stderr.fileno(), _PIECE)
                noise += piece
                prompts = noise.count(PROMPT.encode())
                if not piece or prompts > 1:
                    self._refused(noise, wrong=prompts > 1)
                if prompts and not sent:
                    sent = True
                    with contextlib.suppress(BrokenPipeError):  # its last words tell
                        os.write(process.stdin.fileno(), f"{password}\n".encode())

    def _refused(self, noise: bytearray, *, wrong: bool) -> NoReturn:
        """Leave before anything is tried a second time."""
        text = noise.decode(errors="replace")
        self.end()
        raise SessionEndedError(self._process.poll(), f"{text}\n{WRONG if wrong else ''}")

    def _receive(
        self,
        key: selectors.SelectorKey,
        selector: selectors.BaseSelector,
        out: _Stream,
        err: _Stream,
    ) -> None:
        piece = os.read(key.fd, _PIECE if key.data.sink is None else _SWALLOW)
        if piece:
            key.data.take(piece)
            return
        selector.unregister(key.fileobj)
        if out.status is not None and err.status is not None:
            return
        readers = [k for k in selector.get_map().values() if k.data is not None]
        if readers:
            return  # the other stream may still hold the reason
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        # An engine that cannot start the shell in a container says so where the shell would speak.
        noise = bytes(err.before + err.body or out.before).decode(errors="replace")
        raise SessionEndedError(self._process.poll(), noise)

    @staticmethod
    def _pieces(nonce: bytes, command: Command) -> Iterator[bytes]:
        yield b"%s %d %d\n%s" % (nonce, len(command.script), command.size, command.script)
        sent = 0
        for piece in command.stdin:
            if not piece:
                continue
            sent += len(piece)
            if sent > command.size:
                break
            yield piece
            if command.on_sent is not None:
                command.on_sent(sent)
        if sent != command.size:
            raise ValueError(f"stdin gave {sent} bytes where {command.size} were announced")

    def hang_up(self) -> None:
        """Ask the process and its children here to end; :meth:`end` waits for it."""
        process = self._process
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._signal(signal.SIGTERM)

    def end(self) -> None:
        """End the process and its children here. May be called twice."""
        self.hang_up()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
            return
        self._signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)

    def _signal(self, sign: signal.Signals) -> None:
        if self._process.poll() is None:
            # a group that became root through sudo is not ours to signal: the closed pipes end it
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, sign)
