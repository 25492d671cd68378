"""Whether this machine can capture: each finding with the line that mends it."""

from __future__ import annotations

from collections.abc import Iterable

from lab.clients import restic
from lab.journal import holders
from lab.layer import Workspace
from lab.model.host import Host
from lab.model.outcome import Finding, Level
from lab.recovery import twins


def leftovers(workspace: Workspace, hosts: Iterable[Host]) -> list[Finding]:
    """Twins of drills that were killed: each may still run somewhere, and takes room there."""
    held = holders(workspace.state / "locks")
    found = []
    for host in hosts:
        name = twins.name_of(workspace.lab, host.name)
        if (workspace.state.parent / name).is_dir() and name not in held:
            what = f"a drill of {host.name} was cut off, and its twin ({name}) may still be there"
            hint = f"lab drill host={host.name}   (it clears that first)"
            found.append(Finding(Level.WARN, "leftover twin", what, hint))
    return found


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
