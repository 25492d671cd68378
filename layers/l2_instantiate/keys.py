"""SSH keys that this lab makes: one it logs in with, and one for each host to be known by."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lab.clients.process import run
from layers.l2_instantiate.home import Home, private_folder, replace

_HOST_KEY = "ssh_host_ed25519_key"


def host_key_files(home: Home) -> tuple[Path, Path]:
    """The private and the public file of the host's key."""
    return home.host_keys / _HOST_KEY, home.host_keys / f"{_HOST_KEY}.pub"


def read_host_key(home: Home) -> str | None:
    """``"ssh-ed25519 AAAA…"``, or ``None`` where it is not whole."""
    private, public = host_key_files(home)
    return _read_public(public) if private.exists() else None


def read_login_key(home: Home) -> str | None:
    """The public half of the lab's login key, or ``None`` where it is not whole."""
    key = home.login_key
    return _read_public(key.with_suffix(".pub")) if key.exists() else None


def make_host_key(home: Home) -> str:
    """The host's public key; made on first use."""
    known = read_host_key(home)
    if known is not None:
        return known
    with _new_key(home, _HOST_KEY, home.host) as made:
        shutil.rmtree(home.host_keys, ignore_errors=True)
        made.parent.rename(home.host_keys)
        private_folder(home.host_keys)
    return read_host_key(home) or ""


def make_login_key(home: Home) -> str:
    """The lab's public login key; made on first use, by whichever host is first."""
    known = read_login_key(home)
    if known is not None:
        return known
    key = home.login_key
    comment = f"strata {home.workspace.lab}"
    # A link is made by exactly one of several runs at once; the others use what it made.
    with _new_key(home, "lab", comment) as made, contextlib.suppress(FileExistsError):
        os.link(made, key)
    answer = run(
        ["ssh-keygen", "-y", "-f", key], doing=f"read the login key of {home.workspace.lab}"
    )
    replace(key.with_suffix(".pub"), answer.stdout)
    return read_login_key(home) or ""


@contextlib.contextmanager
def _new_key(home: Home, name: str, comment: str) -> Iterator[Path]:
    above = home.login_key.parent
    private_folder(home.host_keys.parent)
    place = Path(tempfile.mkdtemp(prefix=".new-", dir=above))
    try:
        run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", place / name],
            doing=f"make an SSH key for {comment}",
        )
        yield place / name
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _read_public(path: Path) -> str | None:
    try:
        words = path.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return None
    return " ".join(words[:2]) if len(words) > 1 else None
