"""A checkout beside another commit: which hosts it declares differently."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.api import Lab
from lab.errors import ConfigError, LabError, Problem
from lab.gitops.git import Repository
from lab.gitops.touched import Touched, digests_of, touched


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a checkout touches, seen from ``commit``; ``is_readable``: that one was valid."""

    commit: str
    touched: Touched
    is_readable: bool = True


def compare(lab: Lab, name: str) -> Comparison:
    """The lab as it stands in its files, beside the commit of that name.

    Where that commit is not a valid lab every host counts as new. Raises ConfigError where there is
    no such commit.
    """
    repository = Repository.around(lab.root)
    commit = repository.commit(name)
    if commit is None:
        what = f"there is no commit {name!r} in this checkout; a shallow one lacks most of them"
        raise ConfigError([Problem("", what)])
    now = digests_of(lab.inventory.hosts.values())
    inside = repository.folder_in_commit(lab.root)
    with tempfile.TemporaryDirectory(prefix="strata-") as folder:
        root = Path(folder) / "lab"
        try:
            repository.export(commit, root)
            with Lab.load(root / inside, lab.layers) as before:
                declared = digests_of(before.inventory.hosts.values())
        except LabError:
            return Comparison(commit, touched({}, now), is_readable=False)
    return Comparison(commit, touched(declared, now))
