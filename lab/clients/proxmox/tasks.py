"""Following a task of a node to its end: what it ended with is what counts, never that it ended."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from urllib.parse import quote

from lab.clients.proxmox.api import Api
from lab.clients.proxmox.failures import Refused, TaskFailed, TaskLost
from lab.errors import DeadlineExceeded, Interrupted, TransportError

_QUICK, _SLOW = 0.15, 2.0
_GROWTH = 1.5
_LINES = 12
_MANY = 5000  # lines of a log: more than any has
_ASK_LOG_AFTER = 2.0
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)\s?%")
_WARNINGS = re.compile(r"^WARNINGS: \d+$")
_END_OF_CANCEL = 20.0
_NUMBER = re.compile(r"[0-9A-F]{8,}")

Telling = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Finished:
    """A task that ended well; ``warnings`` are lines of its log, where it says it had some."""

    upid: str
    warnings: tuple[str, ...] = ()


def _deaf(percent: float) -> None:
    """A ``telling`` that nobody listens to."""


def wait(api: Api, upid: str, *, doing: str, deadline: float, telling: Telling = _deaf) -> Finished:
    """Wait until the task has ended well.

    ``telling`` gets percent, where its log tells any. The user's wish to stop ends the task, too.

    Raises:
        TaskFailed: it ended otherwise; the end of its log is in ``lines``.
        TaskLost: the node does not know it (any more).
        DeadlineExceeded: it still runs. It is left alone.
    """
    path = _path(upid)
    started = time.monotonic()
    pause = _QUICK
    try:
        while True:
            status = _status(api, path, doing)
            if status.get("status") == "stopped":
                break
            waited = time.monotonic() - started
            if waited > deadline:
                raise DeadlineExceeded(
                    f"Unable to {doing}: its task has run for {waited:.0f} s and goes on.",
                    hint=f"pvesh get /{path}/log   (on the node)",
                )
            if waited > _ASK_LOG_AFTER and telling is not _deaf:
                _tell(api, path, doing, telling)
            api.pause(min(pause, max(deadline - waited, _QUICK)))
            pause = min(pause * _GROWTH, _SLOW)
    except Interrupted:
        _stop(api, path)
        raise
    finally:
        api.touched()
    return _verdict(api, upid, path, doing, str(status.get("exitstatus", "")))


def said(api: Api, upid: str, *, doing: str) -> tuple[str, ...]:
    """All lines of a task's log; none where it cannot be read (any more)."""
    return tuple(_log(api, _path(upid), doing))


def begun(upid: str) -> float:
    """When a task began, seconds since the epoch; 0 where its name does not tell.

    The last of the numbers in its name, on a node and on a backup server, which has one more.
    """
    numbers = [*takewhile(_NUMBER.fullmatch, upid.split(":")[2:])]
    return float(int(numbers[-1], 16)) if numbers else 0.0


def _verdict(api: Api, upid: str, path: str, doing: str, ended: str) -> Finished:
    if ended == "OK":
        return Finished(upid)
    lines = _log(api, path, doing)
    if _WARNINGS.match(ended):
        return Finished(upid, tuple(line for line in lines if line.startswith("WARN")))
    raise TaskFailed(
        f"Unable to {doing}: {ended or 'its task ended without saying how'}.",
        text=ended,
        lines=lines[-_LINES:],
        hint=f"pvesh get /{path}/log   (on the node: all that it said)",
    )


def _status(api: Api, path: str, doing: str) -> dict[str, object]:
    try:
        found: dict[str, object] = api.get(f"{path}/status", doing=f"see how far it is: {doing}")
    except Refused as refused:
        if "no such task" in f"{refused.text} {refused.errors}":
            raise TaskLost(
                f"Unable to {doing}: the node knows nothing of the task that it began.",
                hint="the same command again; it looks first what was done",
            ) from refused
        raise
    return found


def _log(api: Api, path: str, doing: str) -> list[str]:
    try:
        rows = api.get(f"{path}/log", doing=f"read what was said: {doing}", limit=_MANY)
    except (Refused, TransportError):
        return []
    return [str(row.get("t", "")) for row in rows or ()]


def _tell(api: Api, path: str, doing: str, telling: Telling) -> None:
    for line in reversed(_log(api, path, doing)):
        found = _PERCENT.search(line)
        if found:
            telling(float(found[1]))
            return


def _stop(api: Api, path: str) -> None:
    """End the task, as far as that can be done now; whoever comes next looks first anyway."""
    ends = time.monotonic() + _END_OF_CANCEL
    try:
        api.hasten("delete", path)
        while time.monotonic() < ends:
            if (api.hasten("get", f"{path}/status") or {}).get("status") == "stopped":
                return
            time.sleep(_QUICK)
    except (Refused, TransportError):
        return


def _path(upid: str) -> str:
    return f"nodes/{_node(upid)}/tasks/{quote(upid, safe=':@!')}"


def _node(upid: str) -> str:
    """``UPID:pve1:…``: a task is asked about on the node that runs it."""
    words = upid.split(":")
    return words[1] if len(words) > 1 else ""
