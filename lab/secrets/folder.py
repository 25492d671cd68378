"""The folder ``secrets/`` on the disk: its files, and writing one whole or not at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.lazy import Lazy

if TYPE_CHECKING:
    from lab.secrets.sops import document
else:
    document = Lazy("lab.secrets.sops.document")

FOLDER = "secrets"
HOSTS = "hosts"
OPERATORS = "operators.txt"
_MAX_FILES = 2_000
_HALF = ".strata-new"


class Folder:
    """``secrets/`` below a lab's root; it need not exist."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / FOLDER

    def name(self, path: Path) -> str:
        """What users call a file: its path relative to the lab."""
        return path.relative_to(self.root).as_posix()

    def files(self) -> list[Path]:
        """Every file of secrets, in order; the hosts' own keys are none."""
        found: list[Path] = []
        for current, folders, names in os.walk(self.path):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            if Path(current) == self.path and HOSTS in folders:
                folders.remove(HOSTS)
            paths = (Path(current, n) for n in sorted(names))
            found += [
                p for p in paths if p.suffix in document.SUFFIXES and not p.name.startswith(".")
            ]
            if len(found) > _MAX_FILES:
                raise LabError(
                    f"Unable to look through {FOLDER}/: more than {_MAX_FILES} files are in it."
                )
        return found

    def host_file(self, host: str) -> Path:
        """Where the key of a host is kept."""
        return self.path / HOSTS / f"{host}.yaml"

    @property
    def operators(self) -> Path:
        """The public keys of those who may read every secret, one a line."""
        return self.path / OPERATORS

    @property
    def rules(self) -> Path:
        """What upstream ``sops`` goes by."""
        return self.root / ".sops.yaml"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else writes here meanwhile; what a killed one left half-written is removed.

        Raises LabError where somebody does.
        """
        try:
            self.path.mkdir(exist_ok=True)
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise LabError(f"Unable to use {self.path}: {error.strerror}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise LabError(
                f"Unable to change {FOLDER}/: another command is changing it just now.",
                hint="the same command again",
            ) from None
        try:
            for left in self.path.rglob(f".*{_HALF}"):
                left.unlink(missing_ok=True)
            yield
        finally:
            os.close(descriptor)


def write(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Put a file there, whole or not at all; one that is there keeps its mode. Raises LabError."""
    new = path.with_name(f".{path.name}{_HALF}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            mode = path.stat().st_mode & 0o777
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        new.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise LabError(f"Unable to write {path}: {error.strerror}.") from error
