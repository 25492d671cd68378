"""Putting files into a lab all at once, or not at all: whatever happens, also a power cut."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from lab.errors import ConfigError, LabError, Problem

_MANIFEST = "manifest.json"


@contextmanager
def placed(
    root: Path, name: str, new: Mapping[str, bytes], edited: Mapping[str, tuple[bytes, bytes]]
) -> Iterator[None]:
    """The files are there inside the ``with``, and stay if it ends well; otherwise they are gone.

    ``new`` holds files that MUST NOT exist (ConfigError, at the place of the first that does);
    ``edited`` files as they are and as they are to be. A run that was killed half-way is undone by
    the next one of the same ``name``.
    """
    folder = root / f".adopting-{name}"
    undo(root, name)
    there = [path for path in new if (root / path).exists()]
    if there:
        raise ConfigError([Problem(f"{p}:1:1", f"{p} exists already") for p in there])
    try:
        _stage(folder, new, edited)
        for path in new:
            _put(root, folder, path)
        for path, (before, _) in edited.items():
            _exchange(root, folder, path, before)
        yield
    except BaseException:
        undo(root, name)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def undo(root: Path, name: str) -> None:
    """Take back what a run that did not end well has put there. Nothing else is touched."""
    folder = root / f".adopting-{name}"
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        shutil.rmtree(folder, ignore_errors=True)  # it had not begun
        return
    for path, digest in manifest["new"].items():
        target = root / path
        if target.is_file() and _digest(target.read_bytes()) == digest:
            target.unlink()
        _drop_empty(root, target.parent)
    for path, digest in manifest["edited"].items():
        if _digest((root / path).read_bytes()) == digest:
            (folder / "before" / path).replace(root / path)
    shutil.rmtree(folder, ignore_errors=True)


def _stage(
    folder: Path, new: Mapping[str, bytes], edited: Mapping[str, tuple[bytes, bytes]]
) -> None:
    try:
        folder.mkdir()
        for path, content in new.items():
            _write(folder / "new" / path, content)
        for path, (before, after) in edited.items():
            _write(folder / "before" / path, before)
            _write(folder / "after" / path, after)
        manifest = {
            "new": {path: _digest(content) for path, content in new.items()},
            "edited": {path: _digest(after) for path, (_, after) in edited.items()},
        }
        _write(folder / f"{_MANIFEST}.new", json.dumps(manifest).encode())
        (folder / f"{_MANIFEST}.new").replace(folder / _MANIFEST)
    except OSError as error:
        raise LabError(f"Unable to write into {folder.parent}: {error.strerror}.") from error


def _put(root: Path, folder: Path, path: str) -> None:
    target = root / path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(folder / "new" / path, target)  # unlike a rename it never replaces anything
    except FileExistsError:
        raise ConfigError([Problem(f"{path}:1:1", f"{path} exists already")]) from None
    except OSError as error:
        raise LabError(f"Unable to write {path}: {error.strerror}.") from error


def _exchange(root: Path, folder: Path, path: str, before: bytes) -> None:
    if (root / path).read_bytes() != before:
        raise LabError(f"Unable to add to {path}: it was changed meanwhile.")
    (folder / "after" / path).replace(root / path)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _drop_empty(root: Path, folder: Path) -> None:
    """Folders that were made for the files: up to, and without, those that every lab has."""
    while folder != root and PurePosixPath(folder.relative_to(root)).name not in {
        "personas",
        "inventory",
    }:
        with suppress(OSError):
            folder.rmdir()
        if folder.exists():
            return
        folder = folder.parent
