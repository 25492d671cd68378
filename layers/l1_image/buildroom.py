"""Where templates are built: one folder a build, locked, gone afterwards whatever happens.

images/.building-<name>        being made; a leftover if nobody holds .lock-<name>
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from lab.errors import DeadlineExceeded, DriverError
from lab.layer import Report, Workspace
from layers.l1_image import tree

_POLL = 0.3


class BuildRoom:
    """The builds of one lab on this machine."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.folder = workspace.state / "images"

    @contextlib.contextmanager
    def building(self, name: str, report: Report, deadline: float) -> Iterator[Path]:
        """A fresh folder to build in, ours alone; gone afterwards, whatever happens.

        Waits while another run builds the same template. Clears what killed builds left behind.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock(name, report, deadline):
            self.clear_leftovers(except_for=name)
            folder = self.leftover(name)
            tree.remove(folder)
            folder.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                tree.remove(folder)

    @contextlib.contextmanager
    def logged(self, name: str) -> Iterator[Path]:
        """Where a build writes what it says: kept, and named in the error, where it fails."""
        folder = self._workspace.cache / "build-logs"
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / f"{name}.log"
        try:
            yield log
        except DriverError as error:
            if log.exists():
                error.hint = f"{error.hint}   (everything it said: {log})".lstrip()
            raise
        except OSError as error:
            raise DriverError(
                f"Unable to build the template {name}: {error.strerror} ({error.filename}).",
                hint=f"less {log}",
            ) from error

    def leftover(self, name: str) -> Path:
        """Where that template is built."""
        return self.folder / f".building-{name}"

    def clear_leftovers(self, except_for: str = "") -> None:
        """Remove what builds that were killed left behind."""
        for folder in self.folder.glob(".building-*"):
            name = folder.name.removeprefix(".building-")
            if name != except_for:
                with self.try_lock(name) as locked:
                    if locked:
                        tree.remove(folder)

    @contextlib.contextmanager
    def try_lock(self, name: str) -> Iterator[bool]:
        """Whether nobody else builds or deletes that template now; held meanwhile."""
        with (self.folder / f".lock-{name}").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    @contextlib.contextmanager
    def _lock(self, name: str, report: Report, deadline: float) -> Iterator[None]:
        ends = time.monotonic() + deadline
        idle = threading.Event()
        while True:
            with self.try_lock(name) as locked:
                if locked:
                    yield
                    return
            report("wait for another run that builds the same template")
            self._workspace.check()
            if time.monotonic() > ends:
                raise DeadlineExceeded(
                    f"Unable to build the template {name}: another run has held it "
                    f"for {deadline:.0f} s.",
                    hint="the same command again, when the other run has ended",
                )
            idle.wait(_POLL)
