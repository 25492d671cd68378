"""The proof that a machine is up: a login with the lab's key, to the host key that we made."""

from __future__ import annotations

from pathlib import Path

from lab.clients.process import run
from lab.errors import DeadlineExceeded
from lab.layer import Workspace
from layers.l2_instantiate.drivers.qemu.folder import Folder, Record, replace
from layers.l2_instantiate.ports import LOOPBACK

_DEADLINE = 45.0  # a login right behind the banner took 13 s without KVM, while services started
# What is still starting would be observed as not running by the layers above. A guest that ends up
# degraded is up, too; one without systemd says so at once.
_UP = "timeout 30 systemctl is-system-running --wait >/dev/null 2>&1; true"
_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=10",
    "GlobalKnownHostsFile=/dev/null",
    "IdentitiesOnly=yes",
    "LogLevel=ERROR",
    "StrictHostKeyChecking=yes",
)


def command(folder: Folder, record: Record) -> list[str]:
    """The ssh command line that logs in and waits until the guest's start is through."""
    options = (*_OPTIONS, f'UserKnownHostsFile="{_escaped(_known_hosts(folder))}"')
    return [
        *("ssh", "-F", "none", "-i", _escaped(folder.login_key), "-p", str(record.port)),
        *(word for option in options for word in ("-o", option)),
        *(f"{record.settings.user}@{LOOPBACK}", _UP),
    ]


def refusal(folder: Folder, record: Record, workspace: Workspace) -> str:
    """``""`` once a login works, else why it does not yet.

    A banner is not enough: until the guest's start is through, PAM turns plain users away, and
    cloud-init may not have let them in yet.
    """
    known = f"[{LOOPBACK}]:{record.port} {record.host_key}\n"
    replace(_known_hosts(folder), known.encode())
    try:
        answer = run(
            command(folder, record),
            doing=f"log in to {record.host}",
            deadline=_DEADLINE,
            cancelled=workspace.cancelled,
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


def _known_hosts(folder: Folder) -> Path:
    return folder.home / "known_hosts"
