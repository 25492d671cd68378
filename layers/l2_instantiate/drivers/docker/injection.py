"""What a container learns before it first starts: its identity, and who may log in. Pure."""

from __future__ import annotations

import io
import shlex
import tarfile
from collections.abc import Sequence

FIRST_START = "/etc/first-start"
"""Run once by the container's first process, before anything else; then it is gone."""

ONLINE = f"[ ! -e {FIRST_START} ] || {{ sh {FIRST_START} && rm {FIRST_START}; }}"
"""The same in a container that runs."""


def first_start(host: str, user: str, keys: Sequence[str]) -> str:
    """The script: a login that may become root, by these keys and no password. Repeatable."""
    name, called = shlex.quote(user), shlex.quote(host)
    lines = " ".join(shlex.quote(key) for key in keys)
    return f"""\
set -eu
umask 022
id -u {name} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {name}
home=$(getent passwd {name} | cut -d: -f6)
install -d -m 0700 -o {name} -g "$(id -gn {name})" "$home/.ssh"
printf '%s\\n' {lines} > "$home/.ssh/.authorized_keys.new"
chmod 600 "$home/.ssh/.authorized_keys.new"
chown {name}: "$home/.ssh/.authorized_keys.new"
mv "$home/.ssh/.authorized_keys.new" "$home/.ssh/authorized_keys"
printf '%s ALL=(ALL) NOPASSWD: ALL\\n' {name} > /etc/sudoers.d/90-login
chmod 440 /etc/sudoers.d/90-login
grep -q '^127\\.0\\.1\\.1' /etc/hosts || printf '127.0.1.1\\t%s\\n' {called} >> /etc/hosts
[ ! -d /run/systemd/system ] || systemctl --quiet reload ssh
"""


def archive(private_host_key: bytes, host_key: str, script: str) -> bytes:
    """What is unpacked over the container's root, as a tar archive."""
    files = {
        "etc/ssh/ssh_host_ed25519_key": (private_host_key, 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (f"{host_key}\n".encode(), 0o644),
        FIRST_START.lstrip("/"): (script.encode(), 0o700),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
