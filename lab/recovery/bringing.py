"""Bringing the lab's own things back on a new machine: journal, ledger, SSH keys."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lab.errors import DriverError, PlanError
from lab.layer import Workspace
from lab.recovery import reading
from lab.recovery.labset import DATA, JOURNAL, KEYS
from lab.recovery.manifest import FILES, Manifest
from lab.recovery.repository import LAB_HOST, Capture, Repository
from lab.recovery.tarstream import Kind, Member, TarStream


def bring_back(repository: Repository, workspace: Workspace) -> Capture:
    """Put the newest good capture of the lab itself into its state folder, whole or not at all.

    Raises PlanError where a journal is there already, DriverError where the capture is not whole
    or holds what no capture of a lab holds.
    """
    state = workspace.state
    if (state / JOURNAL).exists():
        raise PlanError(
            f"Unable to bring the lab {workspace.lab} back: {state / JOURNAL} is there already.",
            hint="this machine knows the lab: lab status; or move that folder away",
        )
    capture = repository.find(LAB_HOST, DATA)
    manifest = reading.verified(repository, capture)
    _judge(manifest)
    stream = manifest.stream(FILES)
    assert stream is not None  # noqa: S101 (a capture of the lab is one archive)
    state.parent.mkdir(parents=True, exist_ok=True)
    state.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=state) as folder:
        writing = _Writing(Path(folder))
        tar = TarStream(writing)
        for piece in reading.checked(repository, manifest, stream):
            tar.feed(piece)
        tar.close()
        keys = Path(folder, KEYS)
        if keys.exists() and not (state / KEYS).exists():
            keys.rename(state / KEYS)
        Path(folder, JOURNAL).rename(state / JOURNAL)  # last: from now on the lab is known here
    return capture


def _judge(manifest: Manifest) -> None:
    """A file of ours, in one of our places: nothing else is written."""
    for entry in manifest.entries:
        words = entry.path.split("/")[1:]
        ours = words == [JOURNAL] or (words[0] == KEYS and len(words) > 1)
        if entry.kind != Kind.FILE or not ours or {"", ".", ".."} & set(words):
            raise DriverError(
                f"Unable to bring the lab {manifest.lab} back: its capture holds {entry.path},"
                " which is none of a lab's own files.",
                hint="lab captures list host=_lab   (an older one may be right)",
            )


class _Writing:
    """Writes judged files below a folder, each readable by us alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._content = bytearray()
        self._member: Member | None = None

    def begin(self, member: Member) -> None:
        """A file begins."""
        self._member = member
        self._content.clear()

    def content(self, piece: memoryview) -> None:
        """More of it."""
        self._content += piece

    def end(self) -> None:
        """It is whole."""
        assert self._member is not None  # noqa: S101 (begin comes first)
        path = self._folder / self._member.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_bytes(self._content)
        if path.suffix == ".pub":
            path.chmod(0o644)
        self._content.clear()


def cleared(folder: Path) -> None:
    """Drop a checkout that did not become a lab."""
    shutil.rmtree(folder, ignore_errors=True)


__all__ = ["bring_back", "cleared"]
