"""Where a lab keeps its things on this machine: the XDG directories, one folder a lab."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from lab import folders
from lab.layer import Workspace


def workspace_of(name: str, root: Path, twin_of: str = "") -> Workspace:
    """The lab's folders. Creates nothing. ``twin_of``: the lab whose throwaway twin it is."""
    user = os.getuid()
    run = Path(f"/run/user/{user}")
    fallback = run if os.access(run, os.W_OK) else Path(tempfile.gettempdir(), f"strata-{user}")
    return Workspace(
        lab=name,
        root=root,
        state=folders.state() / "strata" / name,
        lender=folders.state() / "strata" / twin_of if twin_of else None,
        cache=folders.cache() / "strata",
        runtime=folders.folder("XDG_RUNTIME_DIR", fallback) / "strata" / name,
    )


def forget(workspace: Workspace) -> None:
    """Remove the lab's folders, and what all labs share once this was the last one."""
    for folder in (workspace.state, workspace.runtime):
        shutil.rmtree(folder, ignore_errors=True)
    empty = [workspace.state.parent, workspace.runtime.parent]
    if workspace.runtime.parent.parent.name.startswith("strata-"):  # ours, where XDG has none
        empty.append(workspace.runtime.parent.parent)
    for folder in empty:
        with suppress(OSError):  # another lab lives there
            folder.rmdir()
    states = workspace.state.parent
    if not states.exists() or [p.name for p in states.iterdir()] == ["bugs"]:
        shutil.rmtree(workspace.cache, ignore_errors=True)
