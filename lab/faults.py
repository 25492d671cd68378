"""Named points at which a test can end this process, to prove that running again resumes.

``STRATA_FAULT=l2.create.after_disks`` kills the process (SIGKILL) at that point;
``STRATA_FAULT=l2.create.after_disks@3`` at its third time. Without the variable a point costs one
comparison.
"""

from __future__ import annotations

import os
import signal

_WANTED, _, _TIMES = os.environ.get("STRATA_FAULT", "").partition("@")
_seen = 0


def point(name: str) -> None:
    """Die here if the environment says so."""
    global _seen  # noqa: PLW0603 (one counter a process is the point)
    if not _WANTED or name != _WANTED:
        return
    _seen += 1
    if _seen >= int(_TIMES or 1):
        os.kill(os.getpid(), signal.SIGKILL)
