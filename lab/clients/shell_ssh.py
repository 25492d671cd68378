"""How a shell on a host is opened: the command line, and ssh's complaints in plain words."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.clients import shell_ahead, shell_container, shell_root
from lab.model.secret import Secret

_CONNECT_TIMEOUT = 30  # an emulated guest under load needs seconds for the key exchange

# Reads one framed command after the other: "<nonce> <script bytes> <stdin bytes>\n<script><stdin>".
# dd with a full block reads exactly the script and nothing of what follows it (busybox's head -c
# reads ahead); head may read ahead in the input, as nothing follows it before our answer. `cat`
# takes what the script left unread. Both streams carry the nonce before and after the script's
# own output, so nothing is stored on the host and any bytes may stand between.
# One line without quotes, backslashes and exclamation marks: any login shell passes it on.
_LOOP = (
    "PATH=$PATH:/usr/sbin:/sbin; LC_ALL=C; export PATH LC_ALL; umask 022; cd /; "
    "for c in dd head cat; do command -v $c >/dev/null 2>&1 || "
    "{ echo strata-lacks $c >&2; exit 3; }; done; "
    "while read -r n k z; do "
    "s=$(dd bs=$k count=1 iflag=fullblock 2>/dev/null); "
    'echo "$n"; echo "$n" >&2; '
    'if [ "$z" = 0 ]; then ( eval "$s" ) </dev/null; r=$?; else '
    'head -c "$z" | { ( eval "$s" ); r=$?; cat >/dev/null; exit "$r"; }; r=$?; fi; '
    'echo; echo "$n $r"; { echo; echo "$n $r"; } >&2; done; exit 0'
)
# ssh's first choice resists quantum computers, and costs older clients 70 ms of processor time a
# login. What never leaves this machine is not recorded on the way; the rest stays on the list.
_QUICK_EXCHANGE = "^curve25519-sha256"
_LACKS = "strata-lacks"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to get a shell.

    Attributes:
        name: The host's name, for messages.
        kind: ``"ssh"``; ``"container"``, by ``docker exec`` (``address`` is the container's name,
            ``engine`` where its engine is, ``""`` = the usual one); or ``"local"`` for this machine
            (tests, and this machine as a host).
        host_key: ``"ssh-ed25519 AAAA…"``: the only key that is accepted. ``None``: the user's own
            known_hosts decides (strictly).
        identity_file: A private key to offer, or ``None`` for the user's agent and configuration.
        sudo_password: For a login that becomes root by sudo with its password; taken only when a
            session as root is opened, and written to sudo's standard input, nowhere else.
    """

    name: str
    kind: Literal["ssh", "container", "local"] = "ssh"
    address: str = ""
    port: int = 22
    user: str = ""
    host_key: str | None = None
    identity_file: str | None = None
    engine: str = ""
    sudo_password: Secret | None = None


def known_hosts(endpoint: Endpoint, runtime: Path, *, anew: bool = False) -> Path | None:
    """The private file that holds the one accepted key; ``None`` where the user's decides."""
    if endpoint.kind != "ssh" or endpoint.host_key is None:
        return None
    mark = hashlib.sha256(f"{endpoint}".encode()).hexdigest()[:16]
    return runtime / f"known-{os.getpid()}-{mark}{'-anew' if anew else ''}"


def write_known_hosts(endpoint: Endpoint, path: Path) -> None:
    """Write that file, readable by this user only."""
    shell_ahead.write_private(path, known_line(endpoint))


def known_line(endpoint: Endpoint) -> str:
    """What stands in it."""
    return f"{_alias(endpoint)} {endpoint.host_key}\n"


def command_line(
    endpoint: Endpoint, known: Path | None, *, root: bool, anew: bool = False
) -> list[str]:
    """What to run for a session, as root or as the login user.

    With ``anew`` it never rides on a connection that is open already.
    """
    program = ["sh", "-c", _LOOP]
    if root:
        program = shell_root.command(_LOOP, with_password=endpoint.sudo_password is not None)
    if endpoint.kind == "local":
        return program
    if endpoint.kind == "container":
        user, name = "root" if root else endpoint.user, endpoint.address or endpoint.name
        return shell_container.command_line(name, endpoint.engine, user, _LOOP)
    options, words = _connection(endpoint, known, anew=anew)
    options["ClearAllForwardings"] = "yes"
    argv = ["ssh", *(f"-o{name}={value}" for name, value in options.items()), *words]
    return [*argv, "--", endpoint.address or endpoint.name, f"exec {shlex.join(program)}"]


def tunnel_line(endpoint: Endpoint, known: Path | None, there: str, here: str) -> list[str]:
    """What to run for a socket on the host that leads to one of this machine, and nothing else."""
    options, words = _connection(endpoint, known, anew=True)
    argv = ["ssh", "-N", *(f"-o{name}={value}" for name, value in options.items()), *words]
    return [*argv, "-R", f"{there}:{here}", "--", endpoint.address or endpoint.name]


def _connection(
    endpoint: Endpoint, known: Path | None, *, anew: bool
) -> tuple[dict[str, str], list[str]]:
    """The options of a connection, and the other words before the address."""
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": str(_CONNECT_TIMEOUT),
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "4",
        "LogLevel": "ERROR",
        "RequestTTY": "no",
        "RemoteCommand": "none",
    }
    if known is not None:
        options |= {
            "UserKnownHostsFile": str(known),
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": _alias(endpoint),
            "CheckHostIP": "no",
            "UpdateHostKeys": "no",
        }
    if known is not None or anew:
        options["ControlPath"] = "none"  # one that is open already was checked by other rules
    if endpoint.identity_file is not None:
        options["IdentitiesOnly"] = "yes"
    if _stays_here(endpoint.address):
        options["KexAlgorithms"] = _QUICK_EXCHANGE
    words = ["-p", str(endpoint.port)] if endpoint.port != 22 or known is not None else []  # noqa: PLR2004 (ssh's own default)
    words += ["-l", endpoint.user] if endpoint.user else []
    words += ["-i", endpoint.identity_file] if endpoint.identity_file is not None else []
    return options, words


def _stays_here(address: str) -> bool:
    """Whether nothing of the connection leaves this machine (its own guests and containers)."""
    return address in {"localhost", "::1"} or address.startswith("127.")


def _alias(endpoint: Endpoint) -> str:
    return f"strata-{endpoint.name}"


@dataclass(frozen=True, slots=True)
class Complaint:
    """Why a session did not come about or ended: the cause, and the next command."""

    cause: str
    hint: str
    reached: bool = False
    stranger: bool = False


_ABOUT_HOST_KEYS = 2
"""The first of the following: what answers cannot prove to be the host."""

_WORDS: tuple[tuple[str, str, str], ...] = (
    (
        r"IDENTIFICATION HAS CHANGED",
        "it shows another host key than the one on record; somebody rebuilt it, or sits in between",
        "find out which; a key changed on purpose: {forget}",
    ),
    (
        r"host key is known for|Host key verification failed",
        "its host key is not the one on record",
        "{learn}",
    ),
    (
        r"UNPROTECTED PRIVATE KEY|bad permissions",
        "ssh refuses the private key, as others may read it",
        "chmod 600 {key}",
    ),
    (
        r"Permission denied|Too many authentication failures",
        "it does not let {user} in with the keys that were offered",
        "{login}",
    ),
    (
        r"Could not resolve hostname|Name or service not known",
        "the name {address} has no address",
        "give the host an address: in inventory/hosts.yaml",
    ),
    (
        r"Connection refused",
        "nothing listens on {address} port {port}",
        "lab status {name}",
    ),
    (
        r"timed out|Timeout, server|not responding",
        "{address} port {port} does not answer",
        "lab status {name}",
    ),
    (
        r"No route to host|Network is unreachable|Host is down",
        "there is no way to {address}",
        "ping {address}",
    ),
    (
        r"Bad configuration option|Bad owner or permissions|terminating, \d+ bad",
        "ssh's own configuration is wrong: {last}",
        "ssh -G {address}",
    ),
)


def explain(endpoint: Endpoint, status: int | None, noise: str) -> Complaint:
    """Put into words why a session ended, from its exit status and what it wrote."""
    lines = [line.strip() for line in noise.splitlines() if line.strip()]
    lacks = next((line for line in lines if line.startswith(_LACKS)), "")
    if lacks:
        return Complaint(
            f"it has no {lacks.removeprefix(_LACKS).strip()}",
            "install coreutils or busybox there",
            reached=True,
        )
    secret = endpoint.sudo_password
    refused = shell_root.refusal(endpoint.user, secret.name if secret else "", lines)
    if refused is not None:
        return Complaint(*refused, reached=True)
    lines = shell_root.without_marks(lines)
    address = endpoint.address or endpoint.name
    words = {
        "address": address,
        "port": str(endpoint.port),
        "name": f"host={endpoint.name}",
        "user": endpoint.user or "this user",
        "key": endpoint.identity_file or "the key",
        "last": lines[-1] if lines else "",
        "forget": f"ssh-keygen -R {_known_name(endpoint)}"
        if endpoint.host_key is None
        else f"lab plan l2 host={endpoint.name}",
        "learn": f"ssh-keyscan -t ed25519 -p {endpoint.port} {address}, and compare the key with"
        " /etc/ssh/ssh_host_ed25519_key.pub on its own console"
        if endpoint.host_key is None
        else f"lab plan l2 host={endpoint.name}",
        "login": f"ssh -v -p {endpoint.port} {address}",
    }
    if endpoint.kind == "container":
        return Complaint(*shell_container.explain(words, status, noise))
    for number, (pattern, cause, hint) in enumerate(_WORDS):
        if re.search(pattern, noise):
            stranger = number < _ABOUT_HOST_KEYS
            return Complaint(cause.format(**words), hint.format(**words), stranger=stranger)
    if endpoint.kind == "local":
        return Complaint(f"its shell ended (status {status})", "the same command again")
    if status == 127:  # noqa: PLR2004 (the shell's status for a missing command)
        return Complaint("it has no POSIX shell named sh", "install one there", reached=True)
    last = lines[-1].rstrip(".") if lines else f"ssh ended (status {status})"
    return Complaint(f"the connection broke: {last}", "the same command again")


def _known_name(endpoint: Endpoint) -> str:
    address = endpoint.address or endpoint.name
    return address if endpoint.port == 22 else f"'[{address}]:{endpoint.port}'"  # noqa: PLR2004
