"""``ssh_server``: a file of sshd's configuration that is read before all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layers.l3_system.spec import System
from layers.l3_system.spec.connection import SshServer

NAME = "ssh_server"
PATH = "/etc/ssh/sshd_config.d/10-strata.conf"
_HEAD = "# Written by Strata: sshd takes the first value that it reads, so these count.\n"


def expand(system: System) -> Mapping[str, Any]:
    """The file, and sshd restarted when it changes; sessions outlive that."""
    if system.ssh_server is None:
        return {}
    content = _HEAD + "".join(f"{line}\n" for line in _lines(system.ssh_server))
    return {
        "files": {PATH: {"content": content, "mode": "0600"}},
        "services": {"ssh": {"state": "running", "restart_on": [PATH]}},
    }


def _lines(server: SshServer) -> list[str]:
    lines = [f"Port {port}" for port in server.port]
    lines += [f"ListenAddress {address}" for address in server.listen]
    if server.password_authentication is not None:
        word = _word(server.password_authentication)
        lines += [f"PasswordAuthentication {word}", f"KbdInteractiveAuthentication {word}"]
    if server.permit_root_login is not None:
        lines.append(f"PermitRootLogin {server.permit_root_login}")
    if server.allow_users:
        lines.append(f"AllowUsers {' '.join(server.allow_users)}")
    if server.allow_groups:
        lines.append(f"AllowGroups {' '.join(server.allow_groups)}")
    return [*lines, *(f"{key} {_word(value)}" for key, value in server.options.items())]


def _word(value: str | int | bool) -> str:  # noqa: FBT001 (as it stands in YAML)
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
