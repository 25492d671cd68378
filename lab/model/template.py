"""A template as its driver keeps it, and a boot disk on its way to becoming one. Pure data."""

from __future__ import annotations

import hashlib
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
class Archive:
    """A copy of a boot disk that stays where its machine's provider keeps such: nobody reads it.

    Attributes:
        id: The capture's, which a note on the archive tells.
        at: When it was begun, seconds since the epoch.
        place: The provider's address.
        node: From where it is reached there.
        storage, volume: Where it lies, in the provider's words.
        size: Bytes that it takes there.
    """

    id: str
    at: float
    place: str
    node: str
    storage: str
    volume: str
    size: int

    @property
    def digest(self) -> str:
        """What stands for it where a hash of its content would: SHA-256 of what is known of it."""
        words = (self.id, self.place, self.storage, self.volume, str(self.size))
        return hashlib.sha256("\n".join(words).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Archived:
    """An archive that was just made: the same words as for a :class:`BootDisk`."""

    archive: Archive
    quiesced: bool
    how: str
    trouble: LabError | None = None


@dataclass(frozen=True, slots=True)
class ArchiveState:
    """What its storage says of an archive now.

    Attributes:
        problem: Why it cannot be relied upon; ``""``: it is there, as large as it was.
        read: When somebody last read all of it and found it whole, seconds since the epoch.
        told: What is known of its content, for people.
    """

    problem: str = ""
    read: float | None = None
    told: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A template that is to be made of a boot disk.

    Attributes:
        name: The template's.
        captured: Where the disk comes from, ``"web1@1a2b3c4d"``.
        checksum: Of the captured file, or what stands for it, ``"sha256:…"``.
        remove: What does not belong into a template besides what makes any machine itself:
            absolute paths; ``*`` may stand in the last step.
        units: What ``systemctl list-unit-files`` said on the machine.
    """

    name: str
    captured: str
    checksum: str
    remove: tuple[str, ...] = ()
    units: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Wanted):
    """From a file that is here. ``disk``: a qcow2 that refers to no other; it may be moved away."""

    disk: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedCandidate(Wanted):
    """From an archive, which stays."""

    archive: Archive


__all__ = [
    "Archive",
    "ArchiveState",
    "Archived",
    "ArchivedCandidate",
    "BootDisk",
    "Candidate",
    "Template",
    "Wanted",
]
