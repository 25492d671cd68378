"""A new lab: its files as they are first, with what an editor and git need beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from lab.api.schema import schemas
from lab.clients.process import run
from lab.errors import ConfigError, DriverError, LabError, Problem
from lab.model.declared import NAME
from layers import LAYERS

FILES = {
    "lab.yaml": "lab.yaml",
    "inventory/hosts.yaml": "hosts.yaml",
    "personas/base.yaml": "base.yaml",
    "personas/web.yaml": "web.yaml",
    "personas/web/index.html": "index.html",
    "justfile": "justfile",
    ".gitignore": "gitignore",
    ".githooks/pre-commit": "pre-commit",
    ".gitea/workflows/plan.yaml": "plan-workflow.yaml",
}
_EXECUTABLE = {".githooks/pre-commit"}


def name_for(folder: Path, said: str | None) -> str:
    """The lab's name: as said, or its folder's. Raises ConfigError where that is none."""
    near = re.sub(r"[^a-z0-9-]+", "-", folder.name.lower()).strip("-")[:63]
    name = said or near
    if not NAME.match(name):
        what = f"{name!r} is not a name: write --name with lower-case letters, digits and hyphens"
        raise ConfigError([Problem("", what)])
    return name


def begin(folder: Path, name: str) -> tuple[str, ...]:
    """Write the lab and return the names of its files.

    Raises LabError, with nothing written, where one of them is there already.
    """
    wanted = contents(name)
    there = [n for n in wanted if (folder / n).exists() or (folder / n).is_symlink()]
    if there:
        raise LabError(
            f"Unable to begin a lab in {folder}: {there[0]} is there already.",
            hint="lab init DIR, with a DIR that is empty or not there yet",
        )
    write_new(folder, wanted)
    return tuple(wanted)


def contents(name: str) -> dict[str, str]:
    """Every file of a new lab, by its path."""
    source = resources.files("lab.starter") / "files"
    made = {
        path: (source / kept).read_text(encoding="utf-8").replace("@NAME@", name)
        for path, kept in FILES.items()
    }
    for kind, schema in schemas(LAYERS).items():
        made[f".schemas/{kind}.schema.json"] = json.dumps(schema, indent=1) + "\n"
    return made


def write_new(folder: Path, files: Mapping[str, str]) -> None:
    """Write files that are not there yet. Raises LabError; what was written by then is removed."""
    written: list[Path] = []
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
            if name in _EXECUTABLE:
                path.chmod(0o755)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise LabError(f"Unable to write {path}: {error.strerror or error}.") from error


def under_git(folder: Path) -> bool:
    """Make it a git repository that checks each commit, unless it stands in one already."""
    git = ["git", "-C", str(folder)]
    doing = f"make {folder} a git repository"
    try:
        inside = run([*git, "rev-parse", "--git-dir"], doing=doing, check=False).status == 0
        if not inside:
            run([*git, "init", "--quiet", "--initial-branch=main"], doing=doing)
            run([*git, "config", "core.hooksPath", ".githooks"], doing=doing)
    except DriverError:  # git is not here: the lab works without
        return False
    return not inside
