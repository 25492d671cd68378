"""Whether this machine can capture: each finding with the line that mends it."""

from __future__ import annotations

from lab.clients import restic
from lab.model.outcome import Finding, Level


def findings() -> list[Finding]:
    """About restic, for a lab that has a capture repository."""
    found = restic.version()
    if found is None:
        detail = "not installed; it is needed to capture and restore"
        return [Finding(Level.FAIL, "restic", detail, restic.INSTALL)]
    version = ".".join(map(str, found))
    if found < restic.OLDEST:
        oldest = ".".join(map(str, restic.OLDEST))
        detail = f"version {version} is older than {oldest}"
        return [Finding(Level.FAIL, "restic", detail, restic.INSTALL)]
    return [Finding(Level.PASS, "restic", version)]
