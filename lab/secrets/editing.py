"""Text in clear in an editor: in a folder of this user alone, in memory (tmpfs), and gone after."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.errors import LabError

_IN_MEMORY = {"tmpfs", "ramfs"}
_EDITORS = ("sensible-editor", "nano", "vim", "vi")
# vim keeps no copies elsewhere; others put theirs beside the file, which is in memory
_VIMS = ("vim", "nvim")
_QUIET = ("-n", "-i", "NONE", "--cmd", "set nobackup nowritebackup noundofile")


@contextmanager
def in_memory(name: str) -> Iterator[Path]:
    """The path of a file to be, 0600 in a folder that is 0700 and never on a disk.

    What an earlier call left behind because it was killed is removed. Raises LabError where this
    machine has no folder in memory.
    """
    base = _base() / f"strata-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    status = base.lstat()
    if base.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise LabError(
            f"Unable to edit: {base} is not a folder of yours alone.", hint=f"ls -ld {base}"
        )
    _sweep(base)
    folder = base / str(os.getpid())
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        yield folder / Path(name).name
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # another editor is open
            base.rmdir()


def _base() -> Path:
    candidates = [os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm"]  # noqa: S108 (checked below)
    for candidate in candidates:
        path = Path(candidate)
        if candidate.startswith("/") and os.access(path, os.W_OK) and is_in_memory(path):
            return path
    raise LabError(
        "Unable to edit: this machine has no folder in memory (tmpfs), and a disk never forgets.",
        hint="mount -t tmpfs tmpfs /dev/shm, or change one value: lab secrets set NAME",
    )


def is_in_memory(path: Path) -> bool:
    """Whether what lies there is held in memory, as the kernel says it."""
    best, kind = "", ""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    real = str(path.resolve())
    for line in lines:
        words = line.split()
        mount = words[1].replace("\\040", " ") if len(words) > 2 else ""  # noqa: PLR2004
        inside = mount in {"/", real} or real.startswith(mount + "/")
        if mount and inside and len(mount) >= len(best):
            best, kind = mount, words[2]
    return kind in _IN_MEMORY


def _sweep(base: Path) -> None:
    """Folders of processes that are gone."""
    for folder in base.iterdir():
        if folder.name.isdecimal() and not Path("/proc", folder.name).exists():
            shutil.rmtree(folder, ignore_errors=True)


def put(path: Path, text: str) -> None:
    """Write the file for this user alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def open_editor(path: Path) -> None:
    """Let the person edit it, until the editor ends. Raises LabError where it fails."""
    words = _editor()
    try:
        done = subprocess.run([*words, str(path)], check=False)
    except OSError as error:
        raise LabError(
            f"Unable to edit: {words[0]} does not start: {error.strerror}.",
            hint="EDITOR=nano lab secrets edit",
        ) from error
    if done.returncode != 0:
        raise LabError(
            f"Unable to edit: {words[0]} ended with status {done.returncode}; nothing was changed.",
            hint="the same command again",
        )


def _editor() -> list[str]:
    said = next((v for n in ("SOPS_EDITOR", "VISUAL", "EDITOR") if (v := os.environ.get(n))), "")
    if not said:
        said = next((e for e in _EDITORS if shutil.which(e)), "")
    try:
        words = shlex.split(said)
    except ValueError as error:
        raise LabError(f"Unable to edit: EDITOR is {said!r}: {error}.") from None
    if not words:
        raise LabError("Unable to edit: no editor was found.", hint="EDITOR=nano lab secrets edit")
    return [*words, *(_QUIET if Path(words[0]).name in _VIMS else ())]
