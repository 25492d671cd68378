"""A bare repository's hooks: `pre-receive` refuses what is wrong, `post-receive` deals with it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from lab.errors import LabError
from lab.gitops.git import Repository

HOOKS = ("pre-receive", "post-receive")
MARK = "# Written by `lab gitops install`"
_TEXT = """\
#!/bin/sh
{mark} for the lab {lab}, and written anew by it: change nothing here.
{exports}exec {python} -P -m lab.cli gitops hook {hook} --name {lab}
"""
_FOLDERS = ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")


def install(folder: Path, branch: str, lab: str) -> tuple[Path, ...]:
    """Write both hooks; a repository that is not there is made. Returns their paths.

    Raises LabError where somebody else's hook is in the way, before anything is written.
    """
    repository = Repository.create(folder, branch)
    paths = {hook: _place(repository.folder, hook) for hook in HOOKS}
    for path in paths.values():
        if path.exists() and MARK not in path.read_text(errors="replace"):
            raise LabError(
                f"Unable to write {path}: there is a hook already, and it is not ours.",
                hint=f"mkdir {path}.d; move it there and call it from a hook that also runs"
                f" what lab gitops install writes to {path}",
            )
    for hook, path in paths.items():
        new = path.with_name(f".{path.name}.new")
        new.write_text(text(hook, lab), encoding="utf-8")
        new.chmod(0o755)
        new.replace(path)
    return tuple(paths.values())


def text(hook: str, lab: str) -> str:
    """The hook: it runs this very installation, on the state that this user has now."""
    exports = "".join(
        f"export {name}={shlex.quote(value)}\n"
        for name in _FOLDERS
        if (value := os.environ.get(name, "")).startswith("/")
    )
    return _TEXT.format(
        mark=MARK, lab=lab, exports=exports, python=shlex.quote(sys.executable), hook=hook
    )


def _place(repository: Path, hook: str) -> Path:
    """Gitea and Forgejo run every file in ``hooks/NAME.d`` and own ``hooks/NAME`` themselves."""
    several = repository / "hooks" / f"{hook}.d"
    if several.is_dir():
        return several / "strata"
    several.parent.mkdir(exist_ok=True)
    return several.with_suffix("")
