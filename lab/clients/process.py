"""Run a program on this machine: with a deadline, cancellable, its whole process group ended."""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.errors import DeadlineExceeded, DriverError, Interrupted
from lab.masking import mask

_TICK = 0.2
_GRACE = 5.0
_KEPT_LINES = 20


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program left behind."""

    argv: tuple[str, ...]
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
        text = mask(self.stderr.decode(errors="replace").replace("\r", "\n"))
        return tuple(line for line in text.splitlines() if line.strip())[-_KEPT_LINES:]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole process group to end, then make it; reaps the child."""
    for sign, grace in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            continue
        return


def _feed(process: subprocess.Popen[bytes], stdin: bytes) -> threading.Thread | None:
    if process.stdin is None:
        return None
    pipe = process.stdin

    def write() -> None:
        try:
            pipe.write(stdin)
            pipe.close()
        except OSError:
            pass  # it ended without reading everything: its exit status tells

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def run(
    argv: Sequence[str | Path],
    *,
    doing: str,
    deadline: float = 60.0,
    cancelled: threading.Event | None = None,
    stdin: bytes | None = None,
    on_line: Callable[[str], None] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    hint: str = "",
) -> Finished:
    """Run ``argv`` to its end and return what it wrote.

    Args:
        argv: The program and its arguments; never a shell line.
        doing: For messages: ``"build the template debian-13 on this machine"`` in
            ``Unable to {doing}: …``.
        deadline: Seconds; then the process group is ended and DeadlineExceeded raised.
        cancelled: When set, the group is ended and Interrupted raised.
        stdin: Bytes to feed it; ``None`` is /dev/null.
        on_line: Called with each line of standard error as it comes (carriage returns count),
            secrets masked.
        env: Added to this process's environment.
        cwd: Where to run it.
        check: Raise DriverError for an exit status other than 0.
        hint: For that error.

    Raises:
        DriverError: the program is missing, or failed while ``check``.
        DeadlineExceeded, Interrupted: see above.
    """
    words = tuple(str(a) for a in argv)
    shown = shlex.join(words)
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env} if env is not None else None,
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise DriverError(
            f"Unable to {doing}: {words[0]} is not installed.",
            hint=hint or "lab doctor",
            command=shown,
        ) from error
    except OSError as error:
        raise DriverError(
            f"Unable to {doing}: {words[0]} does not start: {error.strerror}.",
            hint=hint,
            command=shown,
        ) from error
    with process:
        feeder = _feed(process, stdin) if stdin is not None else None
        try:
            out, err = _collect(process, doing, shown, deadline, cancelled, on_line)
        except BaseException:
            _end(process)
            raise
        finally:
            if feeder is not None:
                feeder.join(_GRACE)
    finished = Finished(words, process.returncode, out, err)
    if check and finished.status != 0:
        last = finished.lines[-1] if finished.lines else f"it ended with status {finished.status}"
        raise DriverError(
            f"Unable to {doing}: {last.strip().rstrip('.')}.",
            hint=hint,
            command=shown,
            status=finished.status,
            lines=finished.lines,
        )
    return finished


class _Lines:
    """Splits a stream into lines as it comes; a carriage return ends one, too."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self._on_line = on_line
        self._rest = b""

    def take(self, piece: bytes) -> None:
        """More of the stream."""
        if self._on_line is None:
            return
        *whole, self._rest = (self._rest + piece.replace(b"\r", b"\n")).split(b"\n")
        for line in whole:
            self._on_line(mask(line.decode(errors="replace")))


def _collect(
    process: subprocess.Popen[bytes],
    doing: str,
    shown: str,
    deadline: float,
    cancelled: threading.Event | None,
    on_line: Callable[[str], None] | None,
) -> tuple[bytes, bytes]:
    """Read both pipes to their ends, watching the clock and the cancel flag."""
    ends = time.monotonic() + deadline
    assert process.stdout is not None  # noqa: S101 (opened above)
    assert process.stderr is not None  # noqa: S101
    out, err, lines = bytearray(), bytearray(), _Lines(on_line)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while selector.get_map():
            _check(ends, deadline, doing, shown, cancelled, err)
            for key, _ in selector.select(_TICK):
                piece = os.read(key.fd, 65536)
                if not piece:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    out += piece
                else:
                    err += piece
                    lines.take(piece)
    while process.poll() is None:  # both pipes closed, the process still ending
        _check(ends, deadline, doing, shown, cancelled, err)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TICK)
    return bytes(out), bytes(err)


def _check(
    ends: float,
    deadline: float,
    doing: str,
    shown: str,
    cancelled: threading.Event | None,
    err: bytearray,
) -> None:
    """Raise where the user asked to stop or the time is up."""
    if cancelled is not None and cancelled.is_set():
        raise Interrupted("Interrupted.", hint="the same command again; it resumes")
    if time.monotonic() > ends:
        raise DeadlineExceeded(
            f"Unable to {doing}: not done after {deadline:.0f} s.",
            command=shown,
            lines=err.decode(errors="replace").splitlines()[-_KEPT_LINES:],
        )
