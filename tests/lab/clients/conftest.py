"""A real sshd on a loopback port."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.clients.shell import Endpoint


def _keygen(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def sshd(tmp_path_factory) -> Iterator[Endpoint]:
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("sshd is not installed")
    folder = tmp_path_factory.mktemp("sshd")
    host_key = _keygen(folder / "host")
    (folder / "authorized_keys").write_text(_keygen(folder / "me") + "\n")
    port = _free_port()
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
    )
    argv = [program, "-D", "-e", "-f", str(folder / "config")]
    if os.geteuid() == 0:  # as root it wants /run/sshd: a private one, this machine stays as it is
        script = 'mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec "$@"'
        argv = ["unshare", "--mount", "sh", "-c", script, "sh", *argv]
    server = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert server.stderr is not None
    for line in server.stderr:
        if b"listening on 127.0.0.1" in line:
            break
    else:
        pytest.skip("sshd does not start here")
    threading.Thread(target=server.stderr.read, daemon=True).start()
    yield Endpoint("web1", "ssh", "127.0.0.1", port, getpass.getuser(), host_key, f"{folder}/me")
    server.terminate()
    server.wait(10)
    server.stderr.close()


@pytest.fixture
def keygen():
    """Make a key pair at a path; returns the public key."""
    return _keygen


@pytest.fixture
def free_port() -> int:
    """Where nobody listens."""
    return _free_port()
