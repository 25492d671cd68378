"""The proof that a machine is up: a login with the lab's key, to the host key that we made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab.clients.process import run
from lab.errors import DeadlineExceeded
from layers.l2_instantiate.home import Home, replace
from layers.l2_instantiate.ports import LOOPBACK

_DEADLINE = 45.0  # a login right behind the banner took 13 s without KVM, while services started
# What is still starting would be observed as not running by the layers above. A guest that ends up
# degraded is up, too; one without systemd says so at once.
_UP = "timeout 30 systemctl is-system-running --wait >/dev/null 2>&1; true"
_SSH = 22
_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=10",
    "GlobalKnownHostsFile=/dev/null",
    "IdentitiesOnly=yes",
    "LogLevel=ERROR",
    "StrictHostKeyChecking=yes",
)


@dataclass(frozen=True, slots=True)
class Door:
    """Where the lab comes in: which port, as whom, and the host key it must find.

    ``address`` is this machine, unless the guest has one of its own.
    """

    port: int
    user: str
    host_key: str
    address: str = LOOPBACK


def command(home: Home, door: Door) -> list[str]:
    """The ssh command line that logs in and waits until the guest's start is through."""
    options = (*_OPTIONS, f'UserKnownHostsFile="{_escaped(_known_hosts(home))}"')
    return [
        *("ssh", "-F", "none", "-i", _escaped(home.login_key), "-p", str(door.port)),
        *(word for option in options for word in ("-o", option)),
        *(f"{door.user}@{door.address}", _UP),
    ]


def refusal(home: Home, door: Door) -> str:
    """``""`` once a login works, else why it does not yet.

    A banner is not enough: until the guest's start is through, PAM turns plain users away, and
    cloud-init may not have let them in yet.
    """
    where = f"[{door.address}]:{door.port}" if door.port != _SSH else door.address
    known = f"{where} {door.host_key}\n"
    replace(_known_hosts(home), known.encode())
    try:
        answer = run(
            command(home, door),
            doing=f"log in to {home.host}",
            deadline=_DEADLINE,
            cancelled=home.workspace.cancelled,
            check=False,
            hint="apt install openssh-client",
        )
    except DeadlineExceeded:
        return "a login took too long"
    if answer.status == 0:
        return ""
    return answer.lines[-1] if answer.lines else f"ssh ended with status {answer.status}"


def _escaped(path: Path) -> str:
    """OpenSSH expands ``%`` in the names of files."""
    return str(path).replace("%", "%%")


def _known_hosts(home: Home) -> Path:
    return home.home / "known_hosts"
