"""Every call that came, and what shall go wrong with some of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

_SECRET = ("password", "cipassword", "secret", "otp", "value", "encryption-key", "keyring")

REASONS = {
    500: "got no worker upid - start worker failed",
    595: "Connection refused",
    596: "Connection timed out",
    599: "Too many redirections",
}


class How(StrEnum):
    """What happens to the call."""

    ANSWER = "answer"  # this status instead of carrying the call out
    RESET = "reset"  # the connection is reset before anything is carried out
    DROP_REPLY = "drop_reply"  # carried out, and then the connection is reset
    LATE_ANSWER = "late_answer"  # carried out, and then this status is answered


@dataclass(frozen=True)
class Fault:
    """One thing that shall go wrong: with the `at`-th call that matches, counted from arming."""

    how: How = How.ANSWER
    at: int = 1
    for_good: bool = False
    method: str = "*"
    path: str = "*"
    status: int = 500
    reason: str | None = None

    def matches(self, method: str, path: str) -> bool:
        """Is this a call that the fault means?"""
        return fnmatchcase(method, self.method) and fnmatchcase(path, self.path)

    @property
    def text(self) -> str:
        """The reason phrase that is answered."""
        return self.reason or REASONS.get(self.status, "the stand-in was told to fail")


@dataclass(frozen=True)
class Seen:
    """A call that came: secrets masked; `fault` is what was done to it."""

    number: int
    method: str
    path: str
    parameters: Mapping[str, Any]
    status: int | None = None
    reason: str | None = None
    fault: How | None = None


@dataclass
class _Armed:
    fault: Fault
    matched: int = 0


@dataclass
class Faults:
    """The faults that are armed and the calls that came."""

    calls: list[Seen] = field(default_factory=list)
    _armed: list[_Armed] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def arm(self, fault: Fault | None = None, **fields: Any) -> Fault:
        """Let something go wrong from now on: a Fault, or its fields."""
        fault = fault or Fault(**fields)
        with self._lock:
            self._armed.append(_Armed(fault))
        return fault

    def clear(self) -> None:
        """Nothing goes wrong any more; what came stays recorded."""
        with self._lock:
            self._armed.clear()

    def forget(self) -> None:
        """Count calls from nothing again."""
        with self._lock:
            self.calls.clear()

    @property
    def happened(self) -> list[Seen]:
        """The calls that a fault really met: the proof that it did."""
        with self._lock:
            return [one for one in self.calls if one.fault]

    def count(self, method: str = "*", path: str = "*") -> int:
        """How many calls of this kind came."""
        with self._lock:
            return sum(
                fnmatchcase(one.method, method) and fnmatchcase(one.path, path)
                for one in self.calls
            )

    def meet(self, method: str, path: str) -> Fault | None:
        """The fault that this call meets, counted as it comes."""
        with self._lock:
            met = None
            for armed in self._armed:
                if armed.fault.matches(method, path):
                    armed.matched += 1
                    due = armed.matched == armed.fault.at
                    if due or (armed.fault.for_good and armed.matched > armed.fault.at):
                        met = met or armed.fault
            return met

    def record(self, method: str, path: str, parameters: Mapping[str, Any]) -> Seen:
        """Keep a call."""
        masked = {
            key: "********" if any(key.endswith(one) for one in _SECRET) else value
            for key, value in parameters.items()
        }
        with self._lock:
            seen = Seen(len(self.calls) + 1, method, path, masked)
            self.calls.append(seen)
            return seen

    def outcome(
        self, seen: Seen, status: int | None, reason: str | None, fault: How | None = None
    ) -> None:
        """Keep what became of it."""
        with self._lock:
            if seen.number <= len(self.calls):
                self.calls[seen.number - 1] = replace(
                    seen, status=status, reason=reason, fault=fault
                )
