"""One restic while it runs: written to, waited for, ended; and what its end means."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any

from lab.clients.shell_session import widen
from lab.errors import DeadlineExceeded, DriverError, Interrupted, TransportError
from lab.masking import mask

TICK = 0.2
STALLED = 1800.0  # a slow store may be silent for long while it takes a pack
UNANSWERED = 30.0
"""How long a store may refuse to be opened. Restic itself would go on for a quarter of an hour."""
_KEPT_LINES = 20
_RETRIED = re.compile(r"^\w+\([^)]*\) returned error, retrying after [^:]*: (?P<why>.*)")
_UNOPENED = re.compile(r"^\w+\((<(config|key)/[^>]*>|key)\) returned error")
_SSH = "subprocess ssh: "
_READ = 1 << 16
_NO_REPOSITORY, _LOCKED, _WRONG_PASSWORD = 10, 11, 12


Notice = Callable[[str], None]
"""What the store says while it is asked again and again; ``""``: it takes again."""


def no_notice(why: str) -> None:
    """A :data:`Notice` that nobody listens to."""


class NoRepository(DriverError):  # noqa: N818 (the house names read as sentences)
    """Nothing is there, or something that is no repository."""


class WrongPassword(DriverError):  # noqa: N818
    """The repository is there, and does not open with this password."""


class BusyError(DriverError):
    """Somebody else holds the repository, or died while holding it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What came of storing a stream: bytes that went in, bytes that the repository grew by."""

    snapshot: str
    size: int
    added: int


@dataclass
class Call:
    """One running restic; ``place`` is its repository, for people."""

    process: subprocess.Popen[bytes]
    argv: Sequence[str]
    err: IO[bytes]
    place: str
    out: IO[bytes] | Any = None
    notice: Notice = no_notice
    _refused_at: float = 0.0
    _told: str = ""

    def _retried(self) -> str:
        """Restic's last words, where they are that it asks the store once more; else ``""``."""
        # its position is also the writer's: it must not move
        start = max(0, os.fstat(self.err.fileno()).st_size - _READ)
        lines = os.pread(self.err.fileno(), _READ, start).decode(errors="replace").splitlines()
        return lines[-1] if lines and _RETRIED.match(lines[-1]) else ""

    def look(self, doing: str) -> None:
        """Tell what the store refuses. One that lets nobody in ends it with TransportError."""
        last = self._retried()
        if last != self._told:
            self._told = last
            found = _RETRIED.match(last)
            self.notice(mask(found["why"]) if found else "")
        if not _UNOPENED.match(last):
            self._refused_at = 0.0
            return
        self._refused_at = self._refused_at or time.monotonic()
        if self.process.poll() is None and time.monotonic() - self._refused_at > UNANSWERED:
            self.kill()
            raise failure(self, doing)

    def end(self, doing: str, said: str = "") -> None:
        """Wait for its end. Raises what its exit status means."""
        self.process.wait()
        if self.process.returncode != 0:
            raise failure(self, doing, said)

    def wait(self, ends: float, doing: str, cancelled: threading.Event) -> None:
        """Until it has ended, watching the clock and the wish to stop."""
        while self.process.poll() is None:
            check(cancelled, ends, doing)
            self.look(doing)
            self._pause()

    def _pause(self) -> None:
        """For a moment, and not an instant longer than it runs."""
        try:
            handle = os.pidfd_open(self.process.pid)
        except (OSError, AttributeError):  # an old kernel, or none of Linux
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(TICK)
            return
        try:
            ended = select.poll()
            ended.register(handle, select.POLLIN)
            ended.poll(TICK * 1000)
        finally:
            os.close(handle)

    def said(self) -> str:
        """What it wrote, once it has ended."""
        self.out.seek(0)
        text: str = self.out.read().decode(errors="replace")
        return text

    def summary(self, doing: str, size: int, cancelled: threading.Event) -> Stored:
        """What a backup came to. Raises DriverError."""
        self.wait(time.monotonic() + STALLED, doing, cancelled)
        said = self.said()
        self.end(doing, said)
        told = json.loads(said.strip().splitlines()[-1])
        return Stored(told["snapshot_id"], size, told.get("data_added_packed", 0))

    def kill(self) -> None:
        """End it at once where it still runs: what it was storing is not stored."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class Writing:
    """A stream on its way into the repository."""

    def __init__(
        self,
        call: Call,
        doing: str,
        cancelled: threading.Event,
        stored: Callable[[Stored], Stored] = lambda stored: stored,
    ) -> None:
        self._call, self._doing, self._cancelled = call, doing, cancelled
        self._stored = stored
        self.size = 0
        assert call.process.stdin is not None  # noqa: S101 (opened for this)
        self._pipe = call.process.stdin.fileno()
        widen(self._pipe)
        self._ends = time.monotonic() + STALLED
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        """Free a writer that waits in vain: writing itself is left to the kernel, in one piece."""
        while not self._over.wait(TICK) and self._call.process.poll() is None:
            with contextlib.suppress(DriverError):  # the writer finds its pipe broken, and says so
                self._call.look(self._doing)
            if self._cancelled.is_set() or time.monotonic() > self._ends:
                self._call.process.kill()
                return

    def write(self, piece: bytes | memoryview) -> None:
        """More of the stream. Raises DriverError where restic ended, Interrupted."""
        view = memoryview(piece)
        self.size += len(view)
        self._ends = time.monotonic() + STALLED
        try:
            while view:
                view = view[os.write(self._pipe, view) :]
        except BrokenPipeError:
            check(self._cancelled, self._ends, self._doing)
            self._call.process.wait()
            raise failure(self._call, self._doing) from None

    def finish(self) -> Stored:
        """The stream was whole: keep it."""
        self._over.set()
        process = self._call.process
        assert process.stdin is not None  # noqa: S101
        process.stdin.close()
        return self._stored(self._call.summary(self._doing, self.size, self._cancelled))

    def leave(self) -> None:
        """Nobody writes any more, finished or not."""
        self._over.set()


def check(cancelled: threading.Event, ends: float, doing: str) -> None:
    """Raise where the user asked to stop, or nothing has moved for too long."""
    if cancelled.is_set():
        raise Interrupted("Interrupted.", hint="the same command again")
    if time.monotonic() > ends:
        raise DeadlineExceeded(f"Unable to {doing}: nothing has moved for {STALLED:.0f} s.")


def failure(call: Call, doing: str, said: str = "") -> DriverError:
    """The error that its exit status and its words come to."""
    call.err.seek(0)
    text = _plain(call.err.read().decode(errors="replace") + said)
    lines = [line for line in mask(text).splitlines() if line.strip()][-_KEPT_LINES:]
    status = call.process.returncode
    cause = next((x for x in lines if x.startswith("Fatal:")), lines[-1] if lines else "")
    cause = cause.removeprefix("Fatal:").strip().rstrip(".") or f"restic ended ({status})"
    place, kind, hint = call.place, DriverError, "lab captures verify"
    if status == _NO_REPOSITORY:
        kind, cause = NoRepository, f"there is no repository at {place}"
        hint = "mount what holds it (lab.yaml: capture:); where none ever was: lab capture"
    elif status == _WRONG_PASSWORD:
        kind, cause = WrongPassword, f"the password does not open the repository at {place}"
        hint = "the secret that lab.yaml names under capture: must be the one it was made with"
    elif status == _LOCKED:
        kind, hint = BusyError, "wait for the other run; lab captures list"
    elif lines and (refused := _RETRIED.match(lines[-1])):
        kind, cause = TransportError, f"the store cannot be opened: {refused['why'].rstrip('.')}"
        hint = "the same command again, once the store answers"
    elif ssh := [line for line in lines if line.startswith(_SSH)]:
        kind, cause = TransportError, f"ssh says: {ssh[-1].removeprefix(_SSH).rstrip('.')}"
        hint = "ssh to that host must work without a question; then the same command again"
    elif re.search(r"connection (refused|reset)|no such host|timed? ?out|unreachable", cause):
        kind, hint = TransportError, "the same command again, once the store answers"
    return kind(
        f"Unable to {doing}: {cause}.",
        hint=hint,
        command=shlex.join(call.argv),
        status=None if kind is TransportError and status < 0 else status,  # we ended it
        lines=lines,
    )


def _plain(text: str) -> str:
    """Restic's words: with ``--json`` they come as documents, one a line."""
    return "\n".join(said for line in text.splitlines() if (said := said_in(line)))


def said_in(line: str) -> str:
    """What one line of restic tells people; ``""``: nothing."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict):
        return ""
    inner = entry.get("error")
    said = entry.get("message") or (inner.get("message") if isinstance(inner, dict) else "")
    return next(iter(str(said or "").splitlines()), "")
