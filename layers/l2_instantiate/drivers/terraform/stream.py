"""What tofu says with ``-json``: one object a line, as progress and as the error it ended with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lab.masking import mask

_DOING = {
    "create": "making",
    "update": "changing",
    "delete": "removing",
    "read": "reading",
    "replace": "replacing",
}
_KEPT = 20


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One complaint of tofu or of its provider."""

    summary: str
    detail: str

    @property
    def sentence(self) -> str:
        """One line for people, without a full stop at its end."""
        words = " ".join(self.detail.split()) if self.detail else ""
        text = self.summary if words in {"", self.summary} else f"{self.summary}: {words}"
        return text.strip().rstrip(".")


@dataclass
class Stream:
    """Reads the lines of one command as they come; ``tell`` gets a few words now and then."""

    tell: Callable[[str], None]
    errors: list[Diagnostic] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)

    def take(self, line: str) -> None:
        """One more line; one that is no JSON is kept for whoever looks for the reason."""
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            self._keep(line)
            return
        kind = str(said.get("type", ""))
        if kind == "diagnostic":
            self._complain(said.get("diagnostic") or {})
        elif kind in {"apply_start", "apply_progress"}:
            self.tell(_progress(said.get("hook") or {}))
        elif kind == "refresh_start":
            self.tell("looking again")

    @property
    def why(self) -> str:
        """The first error, else the last line that was no JSON."""
        if self.errors:
            return self.errors[0].sentence
        return self.rest[-1].strip().rstrip(".") if self.rest else ""

    @property
    def lines(self) -> tuple[str, ...]:
        """All errors, line by line."""
        said = [f"{e.summary}\n{e.detail}" for e in self.errors] or self.rest
        return tuple(line for text in said for line in text.splitlines() if line.strip())[-_KEPT:]

    def _complain(self, found: dict[str, Any]) -> None:
        said = Diagnostic(mask(str(found.get("summary", ""))), mask(str(found.get("detail", ""))))
        if found.get("severity") == "error":
            self.errors.append(said)

    def _keep(self, line: str) -> None:
        if line.strip():
            self.rest.append(mask(line))
            del self.rest[:-_KEPT]


def _progress(hook: dict[str, Any]) -> str:
    doing = _DOING.get(str(hook.get("action", "")), "working on")
    seconds = hook.get("elapsed_seconds")
    return f"tofu: {doing} it" + (f" ({seconds} s)" if seconds else "")
