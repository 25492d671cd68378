"""A shell in a container: the command line, and docker's complaints in plain words."""

from __future__ import annotations

import re
from collections.abc import Mapping

_WORDS: tuple[tuple[str, str, str, bool], ...] = (
    (r"No such container", "there is no container {address}", "{converge}", False),
    (r"is not running", "its container does not run", "{converge}", False),
    (r"is paused", "its container is paused", "docker unpause {address}", False),
    (
        r"permission denied while trying to connect",
        "you may not use the Docker engine",
        "sudo usermod --append --groups docker $USER, then log in again",
        False,
    ),
    (
        r"Cannot connect to the Docker daemon|error during connect",
        "no Docker engine answers",
        "sudo systemctl start docker",
        False,
    ),
    (r'"sh": executable file not found', "it has no POSIX shell named sh", "install one", True),
    (r"unable to find user", "it has no user {user}", "docker exec {address} getent passwd", True),
)


def command_line(container: str, engine: str, user: str, loop: str) -> list[str]:
    """No login and no sudo: the engine starts a shell as whom it is told."""
    argv = ["docker", *(["--host", engine] if engine else []), "exec", "-i"]
    argv += ["--user", user] if user else []
    return [*argv, container, "sh", "-c", loop]


def explain(words: Mapping[str, str], status: int | None, noise: str) -> tuple[str, str, bool]:
    """Why it ended, the next command, and whether the container itself was reached."""
    words = {**words, "converge": f"lab converge l2 {words['name']}"}
    for pattern, cause, hint, reached in _WORDS:
        if re.search(pattern, noise):
            return cause.format(**words), hint.format(**words), reached
    last = words["last"].rstrip(".") or f"docker ended (status {status})"
    return f"the connection to its container broke: {last}", "the same command again", False
