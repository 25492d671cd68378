"""How this machine gets at the files of a restic repository, wherever that is kept.

A folder and a REST server are asked directly; for ``sftp:``, ``s3:``, ``b2:`` and ``rclone:`` the
program rclone stands between, for as long as it is needed, on a port of this machine that wants a
password. Its configuration is made of what restic would be told; nothing is written to a file.

Sources: restic's manual, "Preparing a new repository"; rclone's, ``serve restic`` and its backends.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from lab.clients.restic import Access
from lab.clients.restic_stores import FolderStore, RestStore, Store
from lab.errors import DriverError, TransportError
from lab.masking import hide, mask

PROGRAM = "rclone"
_READY = 30.0
_USER = "strata"
_MEANT = re.compile(r"(AWS|B2|RCLONE|RESTIC)_")  # for restic: rclone is told otherwise
_AMAZON = re.compile(r"(^|\.)amazonaws\.com$")

Remote = tuple[str, Mapping[str, str]]
"""What rclone calls the place, and the settings of its backend."""


def hindrance(access: Access) -> str:
    """Why this machine does not get at its files; ``""``: it does, as far as can be told."""
    kind = _kind(access)
    if kind in {"", "rest"}:
        return "a REST server behind a socket has no door" if "+unix:" in access.url else ""
    if kind not in _REMOTES:
        return f"{access.shown} is of a kind for which there is no door"
    if shutil.which(PROGRAM) is None:
        return f"for {kind}: rclone is needed on this machine (apt-get install rclone)"
    return ""


@contextmanager
def reached(access: Access) -> Iterator[Store]:
    """Its files, while the block runs. Raises LabError."""
    why, folder = hindrance(access), access.folder
    if why:
        raise DriverError(f"Unable to use the capture repository: {why}.", hint="route: pull")
    if folder is not None:
        yield FolderStore(folder)
        return
    environment = {**os.environ, **access.environment()}
    if _kind(access) == "rest":
        yield RestStore(access.url, environment)
        return
    with _served(access, environment) as store:
        yield store


def _kind(access: Access) -> str:
    return "" if access.folder is not None else access.url.partition(":")[0]


@contextmanager
def _served(access: Access, environment: Mapping[str, str]) -> Iterator[Store]:
    kind, _, rest = access.url.partition(":")
    remote, settings = _REMOTES[kind](rest, environment)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    word = secrets.token_urlsafe(24)
    hide(word, "of rclone, for one push")
    said = {f"RCLONE_CONFIG_STORE_{key.upper()}": value for key, value in settings.items()}
    said |= {"RCLONE_USER": _USER, "RCLONE_PASS": word, "RCLONE_CACHE_OBJECTS": "false"}
    ca = environment.get("RESTIC_CACERT") or environment.get("AWS_CA_BUNDLE")
    said |= {"RCLONE_CA_CERT": ca} if ca else {}
    said |= {"RCLONE_CONFIG": os.devnull} if kind != "rclone" else {}  # only what is said here
    own = {k: v for k, v in environment.items() if kind == "rclone" or not _MEANT.match(k)}
    argv = [PROGRAM, "serve", "restic", "--addr", f"127.0.0.1:{port}", remote]
    with tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            argv,
            env={**own, **said},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=err,
            start_new_session=True,
        )
        try:
            login = {"RESTIC_REST_USERNAME": _USER, "RESTIC_REST_PASSWORD": word}
            store = RestStore(f"rest:http://127.0.0.1:{port}/", login, access.shown)
            why = _wait(process, port) or _refusal(store)
            if why:
                raise _unreachable(access, why, err.fileno())
            yield store
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> str:
    """Until it listens; or why it does not."""
    ends = time.monotonic() + _READY
    while process.poll() is None and time.monotonic() < ends:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return ""
        time.sleep(0.05)
    return "rclone did not start"


def _refusal(store: Store) -> str:
    """Why the repository cannot be read through it."""
    try:
        return "" if store.read("config") is not None else "rclone finds no repository there"
    except DriverError as error:
        return error.message


def _unreachable(access: Access, why: str, err: int) -> TransportError:
    """With rclone's own words, where it said any."""
    said = mask(os.pread(err, 1 << 16, 0).decode(errors="replace")).splitlines()[-20:]
    last = re.sub(r"^[\d/]+ [\d:]+ ", "", said[-1]).strip() if said else why
    return TransportError(
        f"Unable to push to {access.shown}: {last.rstrip('.')}.",
        hint="route: pull, which goes by restic alone",
        lines=said,
    )


def _s3(rest: str, environment: Mapping[str, str]) -> Remote:
    """``s3:host/bucket/path`` and ``s3:https://host/bucket/path``."""
    said = urlsplit(rest if "://" in rest else f"https://{rest.removeprefix('//')}")
    settings = {
        "type": "s3",
        "provider": "AWS" if _AMAZON.search(said.hostname or "") else "Other",
        "endpoint": f"{said.scheme}://{said.netloc}",
        "access_key_id": environment.get("AWS_ACCESS_KEY_ID", ""),
        "secret_access_key": environment.get("AWS_SECRET_ACCESS_KEY", ""),
        "session_token": environment.get("AWS_SESSION_TOKEN", ""),
        "region": environment.get("AWS_DEFAULT_REGION", ""),
        "no_check_bucket": "true",
    }
    return f"store:{said.path.strip('/')}", {k: v for k, v in settings.items() if v}


def _b2(rest: str, environment: Mapping[str, str]) -> Remote:
    """``b2:bucket:path``."""
    bucket, _, path = rest.partition(":")
    settings = {
        "type": "b2",
        "account": environment.get("B2_ACCOUNT_ID", ""),
        "key": environment.get("B2_ACCOUNT_KEY", ""),
        "hard_delete": "true",
    }
    return f"store:{bucket}/{path.strip('/')}", settings


def _rclone(rest: str, _environment: Mapping[str, str]) -> Remote:
    """``rclone:remote:path``: the user's own configuration."""
    return rest, {}


def _sftp(rest: str, _environment: Mapping[str, str]) -> Remote:
    """``sftp:user@host:/path`` and ``sftp://user@host:22//path``; the rest as ssh itself has it."""
    if rest.startswith("//"):
        said = urlsplit(f"sftp:{rest}")
        words = ["-p", str(said.port)] if said.port else []
        login, path = said.netloc.partition(":")[0], said.path[1:]
    else:
        (login, _, path), words = rest.partition(":"), []
    argv = ["ssh", "-G", *words, "--", login]
    told = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20).stdout
    every = [line.partition(" ") for line in told.splitlines()]
    ssh: dict[str, str] = {}
    keys = [Path(value).expanduser() for key, _, value in every if key == "identityfile"]
    for key, _, value in every:
        ssh.setdefault(key, value)
    for jump in ("proxyjump", "proxycommand"):
        if ssh.get(jump, "none") != "none":
            raise DriverError(
                f"Unable to push to {login}: ssh goes there by {jump} {ssh[jump]}, which rclone"
                " cannot.",
                hint="route: pull goes by restic itself",
            )
    known = [Path(f).expanduser() for f in ssh.get("userknownhostsfile", "").split()]
    key = next((str(path) for path in keys if path.exists()), "")
    settings = {
        "type": "sftp",
        "host": ssh.get("hostname", ""),
        "user": ssh.get("user", ""),
        "port": ssh.get("port", ""),
        "known_hosts_file": next((str(f) for f in known if f.exists()), os.devnull),
        "key_file": "" if os.environ.get("SSH_AUTH_SOCK") else key,
        "shell_type": "none",
        "disable_hashcheck": "true",
    }
    return f"store:{path}", {k: v for k, v in settings.items() if v}


_REMOTES: Mapping[str, Callable[[str, Mapping[str, str]], Remote]] = {
    "s3": _s3,
    "b2": _b2,
    "sftp": _sftp,
    "rclone": _rclone,
}
