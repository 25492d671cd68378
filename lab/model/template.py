"""A template as its driver keeps it, and a boot disk on its way to becoming one. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.model.baseline import Baseline


@dataclass(frozen=True, slots=True)
class Template:
    """One template that is there.

    Attributes:
        size: Bytes that it takes.
        users: Hosts whose machines were made from it.
        made: When, as UTC ISO-8601; ``""``: nobody knows.
        definition: What it was made from, as JSON values.
        baseline: What it holds; ``None``: nothing was recorded.
        captured: The capture that it was made from, ``"web1@1a2b3c4d"``; ``""``: it was built.
        damaged: Why it cannot be used; ``""``: it can.
    """

    name: str
    size: int = 0
    users: tuple[str, ...] = ()
    made: str = ""
    definition: Mapping[str, Any] = field(default_factory=dict)
    baseline: Baseline | None = None
    captured: str = ""
    damaged: str = ""


@dataclass(frozen=True, slots=True)
class BootDisk:
    """A copy of a machine's boot disk: one qcow2 file that refers to no other.

    Attributes:
        quiesced: The machine was shut down in order before it was read.
        how: In what state it was read, for people.
        trouble: The machine was not seen to run again afterwards; the copy is good all the same.
    """

    path: Path
    quiesced: bool
    how: str
    trouble: LabError | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A boot disk that is to become a template.

    Attributes:
        name: The template's.
        disk: A qcow2 file that refers to no other; it may be moved away.
        captured: Where it comes from, ``"web1@1a2b3c4d"``.
        checksum: Of that file, ``"sha256:…"``.
        remove: What does not belong into a template besides what makes any machine itself:
            absolute paths; ``*`` may stand in the last step.
        units: What ``systemctl list-unit-files`` said on the machine.
    """

    name: str
    disk: Path
    captured: str
    checksum: str
    remove: tuple[str, ...] = ()
    units: str = ""


__all__ = ["BootDisk", "Candidate", "Template"]
