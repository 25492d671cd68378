"""What a drill showed, kept as JSON for programs and as Markdown for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.masking import masked
from lab.model.units import show_size

SCHEMA = "strata.drill/1"


@dataclass(frozen=True, slots=True)
class Restored:
    """One set of data as it came back.

    Attributes:
        captured: When; seconds since the epoch.
        root: The Merkle root of the capture's manifest.
        compared: How: ``"every file, beside"``, ``"every file, after all was healthy"``.
    """

    data: str
    snapshot: str
    captured: float
    files: int
    size: int
    root: str
    compared: str


@dataclass(frozen=True)
class Evidence:
    """One drill of one host.

    Attributes:
        steps: What was done, and the seconds that it took.
        rto: Seconds from nothing to healthy; ``None``: it never got there.
        rpo: Seconds between the oldest capture used and the drill's start.
        missing: What of the host no capture covers.
        notes: What a person should know of it.
        failure: What went wrong, whole; ``""``: nothing.
        sandbox: The kind of machine that the twin was.
    """

    lab: str
    host: str
    persona: str
    commit: str
    at: float
    proved: bool
    steps: Mapping[str, float]
    rto: float | None
    rpo: float | None
    restored: tuple[Restored, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failure: str = ""
    sandbox: str = ""
    allowed: Mapping[str, int | None] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON values, secrets masked."""
        said: dict[str, Any] = masked({"schema": SCHEMA, **asdict(self)})
        return said

    def markdown(self) -> str:
        """One page."""
        lines = [
            f"# Drill of {self.host}: {'proved' if self.proved else 'NOT proved'}",
            "",
            f"Lab {self.lab}, persona {self.persona}, {_time(self.at)}"
            + (f", commit {self.commit[:12]}" if self.commit else "")
            + (f", in a twin of kind {self.sandbox}" if self.sandbox else ""),
            "",
            f"- From nothing to healthy (RTO): {_span(self.rto)}{_of(self.allowed.get('rto'))}",
            f"- Work that would be lost (RPO): {_span(self.rpo)}{_of(self.allowed.get('rpo'))}",
        ]
        lines += [f"- {self.failure}"] if self.failure else []
        lines += [f"- {note}" for note in self.notes]
        lines += ["", "| step | seconds |", "|---|---:|"]
        lines += [f"| {name} | {seconds:.1f} |" for name, seconds in self.steps.items()]
        lines += [
            "",
            "| data | captured | files | size | root | compared |",
            "|---|---|---:|---:|---|---|",
        ]
        lines += [
            f"| {r.data} | {_time(r.captured)} | {r.files:,} | {show_size(r.size)} |"
            f" `{r.root[:16]}` | {r.compared} |"
            for r in self.restored
        ]
        lines += ["", "## Not captured", ""]
        lines += [f"- {thing}" for thing in self.missing] or ["Nothing that was found."]
        text: str = masked("\n".join(lines) + "\n")
        return text

    def write(self, folder: Path) -> Path:
        """Both files; the JSON's path. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        stamp = datetime.fromtimestamp(self.at, UTC).strftime("%Y%m%dT%H%M%S")
        path = folder / f"{self.host}-{stamp}.json"
        path.write_text(json.dumps(self.document(), indent=2) + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(self.markdown(), encoding="utf-8")
        return path


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    whole = int(seconds)
    return f"{seconds:.0f} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"  # noqa: PLR2004


def _of(allowed: int | None) -> str:
    return "" if allowed is None else f" of {_span(allowed)} allowed"


__all__ = ["Evidence", "Restored"]
