"""The lab's own capture: its journal with the ledger, and the SSH keys that it made.

It is what a new machine needs besides git and the age key to go on where the old one stood.
"""

from __future__ import annotations

import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lab.clients import restic
from lab.journal import Journal
from lab.layer import Workspace
from lab.recovery.capturing import Taken
from lab.recovery.manifest import FILES, Manifest, Stream, Taking, merkle_root
from lab.recovery.repository import LAB_HOST, Capture, Repository, new_id

DATA = "journal"
JOURNAL = "journal.db"
KEYS = "keys"
_PIECE = 1 << 18


def take_lab(
    repository: Repository,
    workspace: Workspace,
    journal: Journal,
    *,
    last: Capture | None,
    commit: str = "",
) -> Taken:
    """Capture it. The journal is copied as of one moment, while others may write it."""
    manifest = Manifest(
        lab=repository.lab,
        host=LAB_HOST,
        persona="",
        data=DATA,
        id=new_id(),
        at=time.time(),
        number=last.number + 1 if last is not None else 1,
        commit=commit,
        tools={"restic": ".".join(map(str, restic.version() or ()))},
        quiesced=True,
    )
    taking = Taking()
    with tempfile.TemporaryDirectory(dir=workspace.state) as folder:
        copy = Path(folder, JOURNAL)
        journal.copy_to(copy)
        with repository.restic.writing(repository.label(manifest, FILES)) as out:
            for piece in _archive(copy, workspace.state / KEYS):
                taking.feed(piece)
                out.write(piece)
            taking.close()
            stored = out.finish()
    manifest = replace(
        manifest,
        files=taking.files,
        size=taking.size,
        streams=(Stream(FILES, stored.snapshot, stored.size),),
        entries=tuple(taking.entries),
        root=merkle_root(taking.entries),
    )
    return Taken(repository.conclude(manifest), manifest)


def _archive(journal: Path, keys: Path) -> Iterator[bytes]:
    """A tar archive of both, piece by piece: ``journal.db`` and what is below ``keys/``."""
    things = [(journal, JOURNAL)]
    things += [(p, f"{KEYS}/{p.relative_to(keys)}") for p in sorted(keys.rglob("*")) if _is_ours(p)]
    for path, name in things:
        head = tarfile.TarInfo(name)
        content = path.read_bytes()
        head.size, head.mode, head.mtime = len(content), 0o600, int(path.stat().st_mtime)
        yield head.tobuf(tarfile.PAX_FORMAT)
        yield from (content[i : i + _PIECE] for i in range(0, len(content), _PIECE))
        yield bytes(-len(content) % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _is_ours(path: Path) -> bool:
    return path.is_file() and not any(part.startswith(".new-") for part in path.parts)
