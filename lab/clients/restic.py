"""restic (0.17 or newer) as a program on this machine: streams in, streams out, snapshots listed.

The password goes to it through a pipe of its own: never an argument, a variable or a file. So does
nothing that a host could see: restic only ever runs here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

from lab.clients.restic_listing import Remembered, Snapshot
from lab.clients.restic_process import (
    STALLED,
    TICK,
    BusyError,
    Call,
    NoRepository,
    Notice,
    Stored,
    Writing,
    WrongPassword,
    check,
    no_notice,
    said_in,
)
from lab.errors import DriverError

OLDEST = (0, 17)
"""The first whose exit codes tell a wrong password from a missing repository."""
PROGRAM = "restic"
INSTALL = "sudo tools/install-restic   (Debian 13 and newer: apt-get install restic)"

_PIECE = 1 << 18
_SMALL_INDEX = 16 << 20
_LONG = 24 * 3600.0  # for what looks at a whole repository
_CREDENTIALS = re.compile(r"//[^/@\s]+@")


@dataclass(frozen=True)
class Access:
    """How to open one repository.

    Attributes:
        url: As restic writes it: a path, ``sftp:``, ``s3:``, ``b2:``, ``rest:``.
        password: Asked for each time restic starts.
        environment: What the store wants (``AWS_ACCESS_KEY_ID``); asked for each time, too.
        cache: Where restic may keep its cache; ``None``: no cache.
    """

    url: str
    password: Callable[[], str] = field(repr=False)
    environment: Callable[[], Mapping[str, str]] = field(default=dict, repr=False)
    cache: Path | None = None

    @property
    def folder(self) -> Path | None:
        """Where it lies on this machine; ``None`` where it lies elsewhere."""
        path = self.url.removeprefix("local:")
        return Path(path) if path.startswith("/") else None

    @property
    def shown(self) -> str:
        """The address for people, without what may be a password in it."""
        return _CREDENTIALS.sub("//…@", self.url)


@dataclass(frozen=True, slots=True)
class Label:
    """What a new snapshot is called: its one file's name, whose it is, and when it was so."""

    name: str
    host: str
    tags: tuple[str, ...]
    at: float


class Restic:
    """One repository. Used from several threads at once."""

    def __init__(self, access: Access, cancelled: threading.Event | None = None) -> None:
        self.access = access
        self._cancelled = cancelled or threading.Event()
        cache = access.cache
        self._listed = Remembered(access.folder, cache and cache.with_name("restic-listings"))

    def exists(self) -> bool:
        """Whether a repository is there that this password opens. Raises WrongPassword."""
        try:
            self._run(["cat", "config"], "open the repository")
        except NoRepository:
            return False
        return True

    def create(self) -> None:
        """Make it. Raises DriverError where one is there."""
        self._run(["init"], "make the repository")

    def snapshots(self, *tags: str, remembered: bool = False) -> list[Snapshot]:
        """All that carry every one of the tags, oldest first.

        ``remembered``: restic is not asked (and no password tried) where the snapshots that lie
        there are known.
        """
        every = self._listed.read() if remembered else None
        if every is None:
            text = self._run(["snapshots"], "list the repository")
            every = [_snapshot(entry) for entry in json.loads(text) or ()]
            self._listed.keep(every)
        return sorted((s for s in every if s.tags.issuperset(tags)), key=lambda s: s.at)

    def add_key(self, user: str, host: str, password: str) -> str:
        """One more key to it; what it is called, in full."""
        with _held(password) as handle:
            words = ["key", "add", "--user", user, "--host", host]
            words += ["--new-password-file", f"/dev/fd/{handle}"]
            text = self._run(words, "add a key to the repository", lend=handle)
        found = re.search(r"\b[0-9a-f]{64}\b", text)
        if found is None:
            raise DriverError("Unable to add a key to the repository: restic named none.")
        return found[0]

    def require(self, snapshot: str, label: Label) -> None:
        """Raise DriverError where that snapshot does not carry exactly that label."""
        text = self._run(["snapshots", snapshot], "look at what was stored")
        found = [_snapshot(entry) for entry in json.loads(text) or ()]
        said = [(s.host, s.tags, s.paths) for s in found if s.id == snapshot]
        if said != [(label.host, frozenset(label.tags), (f"/{label.name}",))]:
            raise DriverError(
                f"Unable to believe what {label.host} stored: it is not called as it was told to.",
                hint="look at that host: nothing of it was kept",
            )

    @contextmanager
    def writing(self, label: Label, notice: Notice = no_notice) -> Iterator[Writing]:
        """Store one stream: write to it, then ``finish()``; left without that, nothing is stored.

        ``finish()`` is the moment from which the snapshot exists.
        """
        with self._started(["backup", "--stdin", *called(label)], stdin=subprocess.PIPE) as call:
            call.notice = notice
            doing = f"store {label.name} of {label.host}"
            out = Writing(call, doing, self._cancelled, partial(self._stored, label))
            try:
                yield out
            finally:
                out.leave()

    def store(self, label: Label, file: IO[bytes]) -> Stored:
        """Store a file that is whole already: also when this process dies meanwhile."""
        doing = f"store {label.name} of {label.host}"
        file.flush()
        file.seek(0, os.SEEK_END)
        size = file.tell()
        file.seek(0)
        with self._started(["backup", "--stdin", *called(label)], stdin=file) as call:
            return self._stored(label, call.summary(doing, size, self._cancelled))

    def _stored(self, label: Label, stored: Stored) -> Stored:
        at, path = float(int(label.at)), f"/{label.name}"  # as restic lists it: called()
        tags = frozenset(label.tags)
        self._listed.add(Snapshot(stored.snapshot, at, label.host, tags, (path,), stored.size))
        return stored

    @contextmanager
    def reading(self, snapshot: str, name: str) -> Iterator[Iterator[bytes]]:
        """The content of a snapshot's one file, piece by piece, checked by restic as it comes.

        The iterator raises DriverError at its end where the content is not whole.
        """
        words = ["dump", snapshot, f"/{name}"]
        with self._started(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as call:
            yield self._pieces(call, f"read {name} of snapshot {snapshot[:8]}")

    def _pieces(self, call: Call, doing: str) -> Iterator[bytes]:
        stdout = call.process.stdout
        assert stdout is not None  # noqa: S101 (opened above)
        ends = time.monotonic() + STALLED
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while True:
                self._check(ends, doing)
                call.look(doing)
                if not selector.select(TICK):
                    continue
                piece = os.read(stdout.fileno(), _PIECE)
                if not piece:
                    break
                yield piece
                ends = time.monotonic() + STALLED
        call.end(doing)

    def _check(self, ends: float, doing: str) -> None:
        check(self._cancelled, ends, doing)

    def forget(self, snapshots: Sequence[str]) -> None:
        """Drop exactly these snapshots; the room that they take is made free by :meth:`prune`."""
        if snapshots:
            self._run(["forget", *snapshots], "drop snapshots", deadline=_LONG)

    def prune(self) -> None:
        """Remove content that no snapshot has any more."""
        self._run(["prune"], "make room in the repository", deadline=_LONG)

    def check(self, subset: str = "") -> None:
        """Check the repository's structure, and of its content ``subset`` (``"5%"``, ``"1/7"``).

        Raises DriverError naming what is damaged.
        """
        words = ["check", *(["--read-data-subset", subset] if subset else [])]
        self._run(words, "check the repository", deadline=_LONG)

    def _run(
        self, words: Sequence[str], doing: str, *, deadline: float = 300.0, lend: int | None = None
    ) -> str:
        """One short answer. A lock that a dead restic left is taken away, and it is asked again."""
        try:
            return self._answer(words, doing, deadline, lend)
        except BusyError:
            self._answer(["unlock"], doing, deadline)  # drops the locks of the dead only
            return self._answer([*words, "--retry-lock", "2m"], doing, deadline + 120)

    def _answer(
        self, words: Sequence[str], doing: str, deadline: float, lend: int | None = None
    ) -> str:
        ends = time.monotonic() + deadline
        with self._started(words, lend=lend, stdin=subprocess.DEVNULL) as call:
            call.wait(ends, doing, self._cancelled)
            text = call.said()
            call.end(doing, text)
            return text

    @contextmanager
    def _started(
        self, words: Sequence[str], *, lend: int | None = None, **pipes: Any
    ) -> Iterator[Call]:
        """The running program; whatever happens in the block, it does not outlive it."""
        with contextlib.ExitStack() as held:
            reader = held.enter_context(_held(self.access.password()))
            err = held.enter_context(tempfile.TemporaryFile())
            argv = [*self._argv(reader), *words]
            with contextlib.ExitStack() as opened:
                if "stdout" not in pipes:
                    pipes["stdout"] = opened.enter_context(tempfile.TemporaryFile())
                    argv.append("--json")
                lent = [reader, *([lend] if lend is not None else [])]
                call = Call(
                    self._popen(argv, lent, {**pipes, "stderr": err}), argv, err, self.access.shown
                )
                call.out = pipes.get("stdout")
                try:
                    yield call
                finally:
                    call.kill()

    def _popen(
        self, argv: Sequence[str], lent: Sequence[int], pipes: Mapping[str, Any]
    ) -> subprocess.Popen[bytes]:
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("RESTIC_")},
            **self.access.environment(),
            "RESTIC_REPOSITORY": self.access.url,
            "RESTIC_PROGRESS_FPS": "0.02",
            "TZ": "UTC",
            "GOGC": os.environ.get("GOGC") or self._collections(),
        }
        try:
            return subprocess.Popen(
                argv,
                env=environment,
                pass_fds=lent,
                start_new_session=True,
                **pipes,
            )
        except FileNotFoundError as error:
            raise DriverError(
                "Unable to use the capture repository: restic is not installed.", hint=INSTALL
            ) from error

    def _collections(self) -> str:
        """How rarely restic collects garbage: it costs, and what it keeps instead is memory.

        What it must hold is its index; where that is known to be small (some 130 MiB then) rarer.
        """
        folder = self.access.folder
        if folder is None:
            return "200"
        try:
            size = sum(entry.stat().st_size for entry in os.scandir(folder / "index"))
        except OSError:
            size = 0
        return "400" if size < _SMALL_INDEX else "200"

    def _argv(self, password: int) -> list[str]:
        cache = self.access.cache
        words = [PROGRAM, "--password-file", f"/dev/fd/{password}"]
        words += ["--cache-dir", str(cache)] if cache is not None else ["--no-cache"]
        strict = "-oBatchMode=yes -oStrictHostKeyChecking=yes"
        return [*words, *(["-o", f"sftp.args={strict}"] if self.access.url[:5] == "sftp:" else [])]


@contextmanager
def _held(password: str) -> Iterator[int]:
    """A pipe that holds it, to be read once."""
    reader, writer = os.pipe()
    try:
        try:
            os.write(writer, password.encode() + b"\n")
        finally:
            os.close(writer)
        yield reader
    finally:
        os.close(reader)


def called(label: Label) -> list[str]:
    """The words of ``restic backup`` that give a stream that label."""
    when = datetime.fromtimestamp(label.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    words = ["--stdin-filename", label.name, "--host", label.host]
    words += ["--time", when, "--group-by", "", "--force"]
    return [*words, *(word for tag in label.tags for word in ("--tag", tag))]


def version() -> tuple[int, ...] | None:
    """The version of the restic on this machine; ``None`` where there is none."""
    if shutil.which(PROGRAM) is None:
        return None
    try:
        said = subprocess.run(
            [PROGRAM, "version"], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"restic (\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(n or 0) for n in found.groups()) if found else None


def _snapshot(entry: Mapping[str, Any]) -> Snapshot:
    summary = entry.get("summary") or {}
    return Snapshot(
        id=entry["id"],
        at=_seconds(entry["time"]),
        host=entry.get("hostname", ""),
        tags=frozenset(entry.get("tags") or ()),
        paths=tuple(entry.get("paths") or ()),
        size=summary.get("total_bytes_processed"),
    )


def _seconds(text: str) -> float:
    """Restic writes nanoseconds; Python reads microseconds."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()


__all__ = [
    "INSTALL",
    "OLDEST",
    "Access",
    "Label",
    "NoRepository",
    "Restic",
    "Snapshot",
    "Stored",
    "Writing",
    "WrongPassword",
    "called",
    "said_in",
    "version",
]
