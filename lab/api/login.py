"""How a person logs in to a host: with the lab's key, to the host key that is known."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lab.errors import LabError
from lab.layer import Workspace


def ssh_command(workspace: Workspace, host: str, handed: Mapping[str, object]) -> list[str]:
    """The ``ssh`` words for a host, from what its machine layer handed up.

    Writes the known host key below the runtime directory. Raises LabError where the host has no
    address (yet).
    """
    address, port, user = handed.get("address"), handed.get("port"), handed.get("user")
    if not address or port is None:
        raise LabError(
            f"Unable to log in to {host}: it does not exist yet, or does not run.",
            hint=f"lab converge host={host}",
        )
    if handed.get("connection") == "local":
        raise LabError(f"Unable to log in to {host}: it is this machine.", hint="sudo -i")
    words = ["ssh"]
    if handed.get("identity_file"):
        words += ["-i", str(handed["identity_file"]), "-o", "IdentitiesOnly=yes"]
    if handed.get("host_key") is not None:
        known = _known_hosts(workspace.runtime, host, str(handed["host_key"]))
        words += ["-o", f"UserKnownHostsFile={known}", "-o", f"HostKeyAlias={host}"]
    words += ["-o", "StrictHostKeyChecking=yes", "-p", str(port)]
    return [*words, f"{user}@{address}" if user else str(address)]


def _known_hosts(folder: Path, host: str, key: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{host}.known_hosts"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{host} {key}\n")
    return path
