"""What is remembered of captures and drills, for whoever asks when a thing was last proved."""

from __future__ import annotations

from dataclasses import dataclass

SEEN = "there"
"""What became of a capture that is kept where it cannot be read from here: it was only seen."""


@dataclass(frozen=True, slots=True)
class CaptureRecord:
    """One capture of one data set of one host.

    Attributes:
        data: The data set's name: a workload's, one of the persona's ``data:``, ``identity``.
        at: When its content was as captured (the quiesce point); seconds since the epoch.
        snapshot: Its identity in the repository.
        files: How many files it holds.
        size: Their bytes.
        root: The Merkle root over paths, modes, owners and content.
        flagged: Why nobody should rely on it (``"empty, the one before held 1.2 GiB"``); ``""``:
            it is good.
        verified: When its content was last read back whole and compared; ``None``: never.
    """

    host: str
    data: str
    at: float
    snapshot: str
    files: int
    size: int
    root: str
    flagged: str = ""
    verified: float | None = None


@dataclass(frozen=True, slots=True)
class DrillRecord:
    """One drill of one host: a twin was built from the captures, compared and destroyed.

    Attributes:
        proved: Every data set came back equal, and every workload became healthy.
        rto: Seconds from nothing to healthy; ``None`` where it never got there.
        rpo: Seconds between the oldest capture used and the drill's start.
        missing: How many things of the host no capture covers.
        evidence: The report's file, below the lab's state directory.
    """

    host: str
    at: float
    proved: bool
    rto: float | None
    rpo: float | None
    missing: int
    evidence: str = ""
