"""A checkout's git, asked only: which commits lie between two, and who last wrote a line."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from lab.clients.process import run
from lab.errors import LabError

_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-pager")
_ENV = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
_COMMIT = re.compile(r"^[0-9a-f]{7,64}$")
_UNCOMMITTED = re.compile(r"^0+$")


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit: its id (twelve digits), who wrote it, when (epoch seconds), its first line."""

    id: str
    author: str
    at: float
    subject: str


@dataclass(frozen=True, slots=True)
class Written:
    """Who last wrote a line: a commit; or why none is known (``"not committed"``)."""

    commit: Commit | None
    why: str = ""


def between(folder: Path, old: str, new: str, limit: int = 50) -> tuple[Commit, ...] | None:
    """The commits that ``new`` has and ``old`` has not, the newest first.

    ``None`` where the checkout does not know both, or is none.
    """
    if not (_COMMIT.match(old) and _COMMIT.match(new)):
        return None
    form = "--format=%h%x00%an%x00%at%x00%s"
    words = ["log", f"-{limit}", "--abbrev=12", form, f"{old}..{new}", "--"]
    text = _git(folder, words)
    if text is None:
        return None
    rows = [line.split("\0") for line in text.splitlines()]
    return tuple(Commit(r[0], r[1], float(r[2]), r[3]) for r in rows if len(r) == 4)  # noqa: PLR2004


def written(folder: Path, file: str, line: int) -> Written:
    """Who last wrote that line (1-based) of a file of the checkout."""
    text = _git(folder, ["blame", "--porcelain", "-L", f"{line},{line}", "--", file])
    if text is None:
        inside = _git(folder, ["rev-parse", "--is-inside-work-tree"])
        return Written(None, "not committed" if inside else "no git checkout")
    first, *rest = text.splitlines()
    facts = {k: v for k, _, v in (row.partition(" ") for row in rest if not row.startswith("\t"))}
    commit = first.split()[0].lstrip("^")
    if _UNCOMMITTED.match(commit):
        return Written(None, "not committed")
    at = float(facts.get("author-time", "0"))
    return Written(Commit(commit[:12], facts.get("author", ""), at, facts.get("summary", "")))


def _git(folder: Path, words: list[str]) -> str | None:
    """What git says, or ``None`` where it cannot, or is not there."""
    argv = ["git", *_SAFE, "-C", str(folder), *words]
    try:
        done = run(argv, doing="ask git", env={**os.environ, **_ENV}, check=False, deadline=20)
    except LabError:
        return None
    return done.text if done.status == 0 else None
