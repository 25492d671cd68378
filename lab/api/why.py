"""Why a value of a host is so: who says it and where, what it beats, when it last acted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from lab.clients.checkout import Written, written
from lab.config import Inventory
from lab.config.origins import Candidate, at, candidates, paths, split
from lab.errors import ConfigError, Problem
from lab.journal import Journal, RunRecord, Touched
from lab.layer import Layer

_WORDS = re.compile(r"[^\s:=,;()]+")


@dataclass(frozen=True, slots=True)
class Said:
    """One place that says something of the value, and who wrote that line.

    ``role``: ``"counts"``, ``"adds"`` (lists and mappings are merged), ``"overridden"`` or
    ``"removes"``.
    """

    candidate: Candidate
    role: str
    written: Written


@dataclass(frozen=True, slots=True)
class Why:
    """A value explained.

    Attributes:
        value: As it counts, a secret as its name; of a mapping or list all of it.
        said: Every place, the one that counts first.
        layer: The layer that acts on it (``"l2_instantiate"``), or ``""``.
        touched: The last change on the host that touched it; ``None`` where the journal has none.
        named: Whether that change names the value; otherwise it is only the last of its layer.
        run: The run that made it.
    """

    host: str
    path: str
    value: Any
    said: tuple[Said, ...]
    layer: str
    touched: Touched | None
    named: bool
    run: RunRecord | None


def why(
    inventory: Inventory, layers: Sequence[Layer], journal: Journal, host: str, path: str
) -> Why:
    """Raises ConfigError with the nearest paths where the host has no such value."""
    document = inventory.documents[host]
    steps = split(document, path.strip("."))
    if not steps:
        known = paths(document)
        near = (
            get_close_matches(path, known, n=3, cutoff=0.4)
            or [p for p in known if p.rpartition(".")[2] == path.rpartition(".")[2]][:3]
        )
        rest = f"; try one of: {', '.join(near)}" if near else f"; lab show {host} lists all"
        raise ConfigError([Problem("", f"{host} has no value {path!r}{rest}")])
    node = at(document, steps)
    # items of lists have other numbers in each file: their list tells where they come from
    whole = next((n for n in range(len(steps)) if _is_list(document, steps[:n])), len(steps))
    found = candidates(inventory.root, host, steps[:whole])
    if whole < len(steps):
        item = node.place
        found = [c for c in found if c.place.file == item.file] or found[:1]
        found = [Candidate(found[0].source, item, node.plain())] if found else []
    said = [
        Said(c, role, written(inventory.root, c.place.file, c.place.line))
        for c, role in zip(found, _roles(found), strict=True)
    ]
    acting = [layer.name for layer in layers if steps[0] in layer.sections]
    touched, named = _last(journal, host, acting, steps, node.plain())
    run = journal.run(touched.run).record if touched is not None else None
    layer = acting[0] if acting else ""
    return Why(host, ".".join(steps), node.plain(), tuple(said), layer, touched, named, run)


def _is_list(document: Any, steps: tuple[str, ...]) -> bool:
    return isinstance(at(document, steps).value, list)


def _roles(found: Sequence[Candidate]) -> list[str]:
    """What became of each, the strongest first."""
    roles: list[str] = []
    over = False
    kind: type | None = None
    for candidate in found:
        merged = isinstance(candidate.value, (dict, list))
        if over or (kind is not None and not (merged and isinstance(candidate.value, kind))):
            roles.append("overridden")
            over = True
        elif candidate.tag == "!reset":
            roles.append("removes")
            over = True
        else:
            roles.append("adds" if roles else "counts")
            kind = type(candidate.value) if merged else type(None)
            over = candidate.tag == "!override" or not merged
    return roles


def _last(
    journal: Journal, host: str, layers: Sequence[str], steps: tuple[str, ...], value: Any
) -> tuple[Touched | None, bool]:
    """The last change that names the value, else the last one of the layer that acts on it."""
    changes = [t for t in journal.changes_of(host) if t.change.layer in layers]
    words = [s for s in steps[1:] if not s.isdigit()]
    if isinstance(value, str):
        words.append(value)
    for word in reversed(words):
        for touched in changes:
            change = touched.change.change
            if word in _WORDS.findall(change.what) or any(word == f.field for f in change.fields):
                return touched, True
    return (changes[0] if changes else None), False
