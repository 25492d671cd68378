"""How the tools of other people reach a host: the address, and the one host key that is accepted.

Also what is looked up there through our own session before they start, and recorded after.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote as url_quote

from lab.clients import shell
from lab.clients.shell_ssh import write_known_hosts
from lab.errors import DriverError, TransportError
from lab.layer import Target, Workspace
from layers.l3_system.kinds.kind import quote
from layers.l3_system.spec import Inputs

RECORDS = "/var/lib/strata/errands"
"""On the host: a file a part, with the digest of the errand that was last applied there whole."""

_PREFIX = "strata-errand-"
_LONGEST = 60  # below the folder stand sockets, whose paths must have less than 108 bytes


@dataclass(frozen=True, slots=True)
class There:
    """What was found on the host: paths of programs (``""`` = missing), and the record."""

    python: str
    sudo: str
    applied: str


def endpoint(target: Target[Any, Inputs]) -> shell.Endpoint:
    """Where the host is. Raises TransportError where nobody knows yet."""
    inputs, name = target.inputs, target.host.name
    if inputs.address is None:
        raise TransportError(
            f"Unable to reach {name}: it has no address yet.", hint=f"lab converge host={name}"
        )
    return shell.Endpoint(
        name=name,
        kind=inputs.connection,
        address=inputs.address,
        port=inputs.port or 22,
        user=inputs.user or "",
        host_key=inputs.host_key,
        identity_file=inputs.identity_file,
        sudo_password=inputs.sudo_password,
    )


def look(workspace: Workspace, target: Target[Any, Inputs]) -> There:
    """One round trip; it also finds out whether the host can be reached at all."""
    script = (
        "command -v python3 || echo; command -v sudo || echo; "
        f"cat {quote(_record(target))} 2>/dev/null || echo"
    )
    reply = workspace.resource(shell.shells).to(endpoint(target)).run(script, doing="look around")
    lines = [*reply.text.splitlines(), "", "", ""]
    return There(python=lines[0], sudo=lines[1], applied=lines[2])


def record(workspace: Workspace, target: Target[Any, Inputs], digest: str) -> None:
    """Write down on the host what was applied there whole."""
    path = _record(target)
    script = (
        f"umask 077; mkdir -p {quote(RECORDS)}; echo {quote(digest)} >{quote(path + '.new')}; "
        f"mv -f {quote(path + '.new')} {quote(path)}"
    )
    doing = f"record that {target.name} was applied"
    workspace.resource(shell.shells).to(endpoint(target)).run(script, doing=doing)


def _record(target: Target[Any, Inputs]) -> str:
    return f"{RECORDS}/{url_quote(target.name, safe='')}"


@contextmanager
def scratch(workspace: Workspace) -> Iterator[Path]:
    """A private folder in memory for as long as the tool runs; what a crash left is removed."""
    base = _in_memory(workspace)
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(base)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _in_memory(workspace: Workspace) -> Path:
    """The first of two folders that no disk is behind; secrets may be written there for a while."""
    for folder in (workspace.runtime, Path("/dev/shm")):  # noqa: S108 (a folder of its own is made)
        if len(str(folder)) <= _LONGEST and _is_memory(folder):
            return folder
    raise DriverError(
        "Unable to run another tool: it writes files that may hold secrets, and there is no "
        "folder in memory for them.",
        hint="mount a tmpfs on /dev/shm, or point XDG_RUNTIME_DIR to one",
    )


def _is_memory(folder: Path) -> bool:
    path = folder
    while not path.exists():
        path = path.parent
    if not os.access(path, os.W_OK):
        return False
    device = path.stat().st_dev
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split(" ")
        with suppress(OSError):
            if kind in {"tmpfs", "ramfs"} and os.stat(where).st_dev == device:  # noqa: PTH116
                return True
    return False


def _sweep(base: Path) -> None:
    for left in base.glob(f"{_PREFIX}*"):
        process = left.name.removeprefix(_PREFIX).split("-")[0]
        if not Path("/proc", process).exists():
            shutil.rmtree(left, ignore_errors=True)


def known_hosts(target: shell.Endpoint, folder: Path) -> Path | None:
    """A file with the one accepted key, as of ``strata-HOST``; ``None``: the user's own decides."""
    if target.host_key is None:
        return None
    path = folder / "known_hosts"
    write_known_hosts(target, path)
    return path
