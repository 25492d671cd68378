"""How the API says no, as exceptions; and the next command for the ways that are known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lab.errors import DriverError, TransportError

_MISSING = re.compile(r"Permission check failed \((?P<path>[^,)]+),\s*(?P<privileges>[^)]+)\)")
_NOTHING_DONE = re.compile(
    r"can't lock file .* got timeout|cfs-lock .* got lock request timeout|^got timeout$"
)
_MAYBE_DONE = re.compile(r"got no worker upid|start worker failed")
_LOCKED = re.compile(r"VM is locked \((?P<lock>\w+)\)")

GATEWAY = frozenset({596, 597, 598, 599})
"""The proxy before the API gave up on it: what it was asked may or may not have been done."""

NOT_CONNECTED = 595
"""The proxy found nobody behind it: nothing was done."""


class Refused(DriverError):  # noqa: N818 (the house names read as sentences)
    """The API answered, and said no.

    Attributes:
        status: HTTP's. Things that are not there have 500, not 404.
        text: Its own words.
        errors: Parameter to what is wrong with it.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        text: str,
        errors: Mapping[str, str] | None = None,
        hint: str = "",
    ) -> None:
        lines = [f"{name}: {told}" for name, told in (errors or {}).items()]
        super().__init__(message, hint=hint, status=status, lines=lines)
        self.text = text
        self.errors = dict(errors or {})

    @property
    def is_absent(self) -> bool:
        """Whether it says that there is no such thing."""
        return "does not exist" in self.text or "unable to find configuration file" in self.text

    @property
    def is_taken(self) -> bool:
        """Whether it says that there is one already."""
        return "already exists" in self.text

    @property
    def did_nothing(self) -> bool:
        """Whether it only waited in vain for a lock: asking again is safe whatever it was."""
        return _NOTHING_DONE.search(self.text) is not None

    @property
    def lock(self) -> str:
        """What the machine is locked for (``"clone"``); ``""``: it is not."""
        found = _LOCKED.search(self.text)
        return found["lock"] if found else ""


class Unclear(TransportError):  # noqa: N818
    """A change was asked for and the answer never came: look before asking again."""


class TaskFailed(DriverError):  # noqa: N818
    """A task of the node ended badly; ``text`` is what it ended with."""

    def __init__(self, message: str, *, text: str, lines: Sequence[str], hint: str = "") -> None:
        super().__init__(message, hint=hint, lines=lines)
        self.text = text


class TaskLost(DriverError):  # noqa: N818
    """The node knows nothing of a task that it began: what came of it must be looked at."""


def refusal(
    doing: str, status: int, text: str, errors: Mapping[str, str] | None, who: str
) -> DriverError:
    """The exception for an answer of 400 and above. ``who`` is the token's name."""
    said = text.strip().rstrip(".") or f"it answers with status {status}"
    if status == NOT_CONNECTED:
        return TransportError(
            f"Unable to {doing}: the node's API daemon does not run ({said}).",
            hint="systemctl restart pvedaemon   (as root, on the node)",
            status=status,
        )
    if status in GATEWAY or _MAYBE_DONE.search(text):
        return Unclear(
            f"Unable to {doing}: the node did not answer in time, or its workers did not start "
            f"({status} {said}).",
            hint="the same command again; it looks first what was done",
            status=status,
        )
    if errors:
        said = "; ".join(f"{name}: {told}".strip() for name, told in errors.items())
    return Refused(
        f"Unable to {doing}: {said}.",
        status=status,
        text=text,
        errors=errors,
        hint=_hint(status, text, who),
    )


def grant(path: str, privileges: str, who: str) -> str:
    """The commands that give a token what it lacks."""
    return (
        f"pveum role modify Strata --append 1 --privs '{privileges}' && "
        f"pveum acl modify {path} --roles Strata --tokens '{who}'   (as root, on the node)"
    )


def _hint(status: int, text: str, who: str) -> str:
    missing = _MISSING.search(text)
    if missing:
        return grant(missing["path"], missing["privileges"].replace("|", " "), who)
    if status == 401:  # noqa: PLR2004
        user = who.partition("!")[0]
        return f"pveum user token list {user}   (as root, on the node; docs/proxmox.md)"
    locked = _LOCKED.search(text)
    if locked:
        return "wait until the task that holds it has ended, then the same command again"
    return ""
