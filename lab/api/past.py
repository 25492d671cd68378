"""Runs of the past: found by the names that people type, and compared with each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.clients.checkout import Commit, between
from lab.errors import ConfigError, Problem
from lab.journal import Journal, RunPast

_LAST = re.compile(r"^last(?:~(\d+))?$")
_WORD = re.compile(r"^[0-9A-Za-z-]+$")
_MANY = 100_000
Step = tuple[str, str, str]
"""Host, layer, part."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One step in both runs: how it ended, how long it took; ``None`` where it was not in one."""

    host: str
    layer: str
    part: str
    outcomes: tuple[str | None, str | None]
    seconds: tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class RunDiff:
    """Two runs beside each other.

    Attributes:
        runs: The earlier and the later, in full.
        hosts: Those that only the first and only the second had.
        steps: Every step of either run.
        changes: Changes that only the first and only the second made, as host, layer, text.
        parameters: What was asked for differently: name to both values.
        commits: What the second run's commit has and the first's has not, the newest first;
            ``None`` where this checkout does not know both.
        gone: The reverse, where history was rewritten or an older commit applied.
    """

    runs: tuple[RunPast, RunPast]
    hosts: tuple[tuple[str, ...], tuple[str, ...]]
    steps: tuple[Compared, ...]
    changes: tuple[tuple[tuple[str, str, str], ...], tuple[tuple[str, str, str], ...]]
    parameters: Mapping[str, tuple[Any, Any]]
    commits: tuple[Commit, ...] | None
    gone: tuple[Commit, ...] | None

    @property
    def same(self) -> bool:
        """Whether both did the same to the same hosts, asked the same; times do not count."""
        ended = all(s.outcomes[0] == s.outcomes[1] for s in self.steps)
        return ended and not any((*self.hosts, *self.changes, self.parameters)) and self.same_commit

    @property
    def same_commit(self) -> bool:
        """Whether both applied the same commit."""
        return self.runs[0].record.commit == self.runs[1].record.commit


def find(journal: Journal, word: str) -> str:
    """The id of the run that is meant: its id, the beginning of it or of its last part, ``last``.

    ``last~2`` is the second before the last. Raises ConfigError where none or several fit.
    """
    recent = _LAST.match(word)
    if recent:
        back = int(recent[1] or 0)
        runs = journal.runs(back + 1) if back < _MANY else []
        if len(runs) > back:
            return runs[back].run
        raise ConfigError([Problem("", f"there is no run {word!r}; lab history lists them")])
    found = journal.named(word) if _WORD.match(word) else []
    if word in found or len(found) == 1:
        return word if word in found else found[0]
    if found:
        some = ", ".join(found[:4]) + (" …" if len(found) > 4 else "")  # noqa: PLR2004
        raise ConfigError([Problem("", f"{word!r} fits several runs: {some}")])
    raise ConfigError([Problem("", f"there is no run {word!r}; lab history lists them")])


def before(journal: Journal, run: str) -> str:
    """The run before that one with the same verb and a host in common. Raises ConfigError."""
    runs = journal.runs(_MANY)
    at = next(i for i, r in enumerate(runs) if r.run == run)
    later = runs[at]
    for earlier in runs[at + 1 :]:
        if earlier.verb == later.verb and set(earlier.hosts) & set(later.hosts):
            return earlier.run
    what = f"there is no {later.verb} of the same hosts before {run}: name two runs"
    raise ConfigError([Problem("", what)])


def compared(first: RunPast, second: RunPast, root: Path) -> RunDiff:
    """The two beside each other; ``root`` is the checkout that is asked for the commits."""
    hosts = [set(r.record.hosts) for r in (first, second)]
    old, new = (str(r.record.commit or "").rstrip("+") for r in (first, second))
    differ = old != new
    return RunDiff(
        runs=(first, second),
        hosts=(tuple(sorted(hosts[0] - hosts[1])), tuple(sorted(hosts[1] - hosts[0]))),
        steps=_steps(first, second),
        changes=(_only(first, second), _only(second, first)),
        parameters=_parameters(first, second),
        commits=between(root, old, new) if differ else (),
        gone=between(root, new, old) if differ else (),
    )


def _steps(first: RunPast, second: RunPast) -> tuple[Compared, ...]:
    sides = []
    for run in (first, second):
        reports = [p.report for p in run.parts]
        sides.append({(r.host, r.layer, r.part): r for r in reports})
    found = []
    keys = dict.fromkeys([*sides[0], *sides[1]])
    hosts = list(dict.fromkeys(key[0] for key in keys))
    for key in sorted(keys, key=lambda key: hosts.index(key[0])):  # otherwise as they ended
        a, b = (side.get(key) for side in sides)
        outcomes = (a.outcome.value if a else None, b.outcome.value if b else None)
        found.append(Compared(*key, outcomes, (a.seconds if a else None, b.seconds if b else None)))
    return tuple(found)


def _only(run: RunPast, other: RunPast) -> tuple[tuple[str, str, str], ...]:
    """What one did and the other did not: the same thing with other values counts as another."""
    there = {(c.host, c.layer, c.part, c.change.identity, c.ok) for c in other.changes}
    return tuple(
        (c.host, c.layer, f"{c.change.action.sign} {c.change.what}")
        for c in run.changes
        if (c.host, c.layer, c.part, c.change.identity, c.ok) not in there
    )


def _parameters(first: RunPast, second: RunPast) -> dict[str, tuple[Any, Any]]:
    a, b = first.asked.parameters, second.asked.parameters
    names = dict.fromkeys(["verb", *a, *b])
    both = {
        name: (
            (first.record.verb, second.record.verb)
            if name == "verb"
            else (a.get(name), b.get(name))
        )
        for name in names
    }
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}
