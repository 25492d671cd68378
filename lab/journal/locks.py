"""Who works on a host: one flock a host. The kernel frees it when its process ends, however."""

from __future__ import annotations

import fcntl
import getpass
import json
import math
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from lab.errors import LabError, Locked
from lab.journal.records import Holder
from lab.masking import mask

Waiting = Callable[[Locked, float], None]
"""Called again and again while a lock is waited for, with why and since how many seconds.

It takes its time (a tenth of a second, say), and MAY raise to give up.
"""
_PATIENCE = 0.5  # seconds for a holder that has the lock and has not said yet who it is
_LONGEST = 4096
_mine: ContextVar[frozenset[tuple[Path, str]]] = ContextVar("locks held here", default=frozenset())


def who() -> str:
    """``user@machine``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def command_line() -> str:
    """This process's own, as one line of at most 200 characters, secrets masked."""
    return mask(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]))[:200]


@contextmanager
def locked(
    folder: Path,
    hosts: Iterable[str],
    verb: str,
    waiting: Waiting | None = None,
    *,
    lent: bool = False,
) -> Iterator[None]:
    """Hold the hosts' locks, all or none; disjoint runs go side by side.

    Raises Locked at once, naming the holder, where another process holds one of them; with
    ``waiting`` it tries again until it has them all, and holds none of them meanwhile. The kernel
    frees them when this process ends, however it ends. Raises LabError where no lock can be kept.
    With ``lent`` the verbs that this thread calls meanwhile do not ask for them again.
    """
    mine = _mine.get()
    names = sorted(h for h in hosts if (folder, h) not in mine)
    since = time.monotonic()
    while True:
        with ExitStack() as held:
            try:
                for host in names:
                    held.callback(_release, _take(folder / f"{host}.lock", host, verb))
            except Locked as busy:
                if waiting is None:
                    raise
                refused = busy
            else:
                token = _mine.set(mine | {(folder, name) for name in names if lent})
                try:
                    yield
                finally:
                    _mine.reset(token)
                return
        waiting(refused, time.monotonic() - since)


def held_by(path: Path) -> tuple[int, ...]:
    """The processes that may hold a lock file now; none where nobody does, or nobody can tell.

    Asked of the kernel without taking the lock, so that nobody else is refused meanwhile.
    """
    try:
        file = path.stat()
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    found: dict[bool, list[int]] = {True: [], False: []}
    device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}"
    for line in locks:
        words = line.split()
        if len(words) < 6 or words[1] != "FLOCK":  # noqa: PLR2004  (number, kind, …, pid, device:inode)
            continue
        on, _, inode = words[5].rpartition(":")
        if inode == str(file.st_ino):
            found[on == device].append(int(words[4]))
    return tuple(found[True] or found[False])  # some file systems show another device there


def _release(file: IO[bytes]) -> None:
    with suppress(OSError):
        file.truncate(0)
    with suppress(OSError):
        file.close()


def _take(path: Path, host: str, verb: str) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = path.open("a+b", buffering=0)
    except OSError as error:
        raise LabError(
            f"Unable to {verb} {host}: its lock {path} cannot be kept: {error.strerror}.",
            hint="make room or mend the disk, then the same command again",
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        told = holder_of(file, path)
        file.close()
        raise Locked(
            f"Unable to {verb} {host}: {told}.",
            holder=f"{host}: {told}",
            hint="wait for it (lab converge --wait), then the same command again;"
            " nothing needs to be unlocked",
        ) from None
    except OSError as error:
        file.close()
        raise LabError(
            f"Unable to {verb} {host}: its lock {path} cannot be taken: {error.strerror}.",
        ) from error
    claim(file)
    return file


def claim(file: IO[bytes]) -> None:
    """Say in a lock's file who holds it."""
    said = {"who": who(), "pid": os.getpid(), "since": time.time(), "command": command_line()}
    with suppress(OSError):  # on a full disk the lock holds all the same, only namelessly
        file.truncate(0)
        file.write(json.dumps(said).encode())


def holders(folder: Path) -> dict[str, Holder]:
    """By host: who holds its lock right now. Takes no lock: it stands in nobody's way."""
    found: dict[str, Holder] = {}
    for path in sorted(folder.glob("*.lock")):
        numbers = held_by(path)
        if numbers:
            with suppress(OSError):
                said = _said(path.read_bytes()[:_LONGEST].decode(errors="replace"), numbers)
                found[path.stem] = said or Holder("", numbers[0], 0.0, _named(numbers[0]))
    return found


def holder_of(file: IO[bytes], path: Path) -> str:
    """Who holds it, in words. The file's own are believed only where the kernel agrees.

    They may be those of a process that was killed, or anybody's.
    """
    ends = time.monotonic() + _PATIENCE
    while True:
        holders = held_by(path)
        told = _told(_read(file), holders)
        if told:
            return told
        if time.monotonic() > ends:
            break
        time.sleep(0.02)
    if holders:
        return f"process {holders[0]} ({_named(holders[0])}) holds it"
    return "another run holds it"


def _read(file: IO[bytes]) -> str:
    with suppress(OSError):
        file.seek(0)
        return file.read(_LONGEST).decode(errors="replace")
    return ""


def _told(text: str, holders: tuple[int, ...]) -> str:
    said = _said(text, holders)
    if said is None:
        return ""
    since = datetime.fromtimestamp(said.since, UTC).astimezone().strftime("%H:%M:%S")
    return f"{said.who} runs '{said.command}' on it (process {said.pid}, since {since})"


def _said(text: str, holders: tuple[int, ...]) -> Holder | None:
    try:
        holder = json.loads(text)
        number, at = int(holder["pid"]), float(holder["since"])
        if (holders and number not in holders) or not math.isfinite(at):
            return None
        datetime.fromtimestamp(at, UTC)
        return Holder(str(holder["who"])[:100], number, at, str(holder["command"])[:200])
    except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):
        return None


def _named(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "unknown"
    return b" ".join(words).decode(errors="replace").strip()[:200] or "unknown"
