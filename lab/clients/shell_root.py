"""Becoming root on a host: through sudo (with or without its password) or doas, and why not."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ROOT_MARK = "strata-root"
BECAME = f"{_ROOT_MARK} ok"
"""What a root shell says first where a password may be asked for: nothing is sent before."""
WRONG = f"{_ROOT_MARK} wrong"
"""What is noted where the password was not the right one."""
PROMPT = "strata-password:"
_IF_ROOT = 'if [ "$(id -u)" = 0 ]; then exec sh -c "$1"; fi; '
_BY_DOAS = (
    f"if command -v doas >/dev/null 2>&1; then echo {_ROOT_MARK} doas >&2; "
    'exec doas -n sh -c "$1"; fi; '
    f"echo {_ROOT_MARK} none >&2; exit 1"
)
# sudo refuses with status 1, and the loop never ends with it: then doas may be the way.
_AS_ROOT = (
    f"{_IF_ROOT}if command -v sudo >/dev/null 2>&1; then echo {_ROOT_MARK} sudo >&2; "
    'command -v doas >/dev/null 2>&1 || exec sudo -n sh -c "$1"; '
    'sudo -n sh -c "$1"; r=$?; [ $r = 1 ] || exit $r; fi; '
    f"{_BY_DOAS}"
)
_WITH_PASSWORD = (
    f"{_IF_ROOT}if command -v sudo >/dev/null 2>&1; then echo {_ROOT_MARK} sudo >&2; "
    f'exec sudo -S -p {PROMPT} sh -c "$1"; fi; '
    f"{_BY_DOAS}"
)
_REFUSAL = re.compile(
    r"^(sudo|doas): |not in the sudoers file|is not allowed to|must have a tty|incorrect password"
)


def command(loop: str, *, with_password: bool) -> list[str]:
    """What runs ``loop`` as root: the words of a command line."""
    if with_password:
        return ["sh", "-c", _WITH_PASSWORD, "strata", f"echo {BECAME} >&2; {loop}"]
    return ["sh", "-c", _AS_ROOT, "strata", loop]


def without_marks(lines: Sequence[str]) -> list[str]:
    """What others wrote."""
    return [line for line in lines if not line.startswith(_ROOT_MARK)]


def refusal(user: str, secret: str, lines: Sequence[str]) -> tuple[str, str] | None:
    """Why the login did not become root, and the line that mends it.

    ``None`` where that is not what went wrong.

    ``secret`` is the name of the password that there was, or ``""``.
    """
    who = user or "the login user"
    tried = [x.removeprefix(_ROOT_MARK).strip() for x in lines if x.startswith(_ROOT_MARK)]
    if "wrong" in tried:
        return (
            f"sudo there does not take the password of {who} (the secret {secret})",
            f"correct the secret {secret}; it was tried once",
        )
    if "none" in tried and not {"sudo", "doas"} & set(tried):
        return (
            f"{who} is not root there, and neither sudo nor doas is installed",
            "install sudo on it, or log in as root",
        )
    said = [
        re.sub(rf".*{PROMPT}", "", x).strip().rstrip(".")
        for x in without_marks(lines)
        if _REFUSAL.search(x)
    ]
    if not tried or not said or "ok" in tried:
        return None
    how = "" if secret else " without a password"
    cause = f"{who} may not become root there{how} ({'; '.join(said)})"
    return cause, _mended(user or "USER", " ".join(said), tried, secret)


def _mended(user: str, said: str, tried: Sequence[str], secret: str) -> str:
    """The line on the host, or in the lab, that lets the login become root."""
    if "must have a tty" in said:
        return f"on the host: echo 'Defaults:{user} !requiretty' > /etc/sudoers.d/strata"
    if "sudo" not in tried:
        return (
            "on the host, as doas takes no password from us: "
            f"echo 'permit nopass {user}' >> /etc/doas.conf"
        )
    line = f"on the host: echo '{user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/strata"
    if not secret and "password is required" in said:
        return f"{line}; or give the lab its password: sudo_password: !secret NAME"
    return line
