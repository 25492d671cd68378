"""Where a value of a host may come from: every file that says something of it, in order.

The files are read anew and merged by the same rules as in loading; they are known to be valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.config.tree import Node, Place, read

_OF_LAB = "vars"  # the one section of a host that lab.yaml begins


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place that says something of a value.

    Attributes:
        source: Whose word it is: ``"host web1"``, ``"persona web"``, ``"lab.yaml"``.
        place: Where the value (or its removal) stands.
        value: What it says; a removal has none.
        tag: ``"!override"``, ``"!reset"`` or ``""``.
    """

    source: str
    place: Place
    value: Any
    tag: str = ""


def candidates(root: Path, host: str, path: tuple[str, ...]) -> list[Candidate]:
    """Every place that says something of that path, the one that counts most first."""
    found = []
    for source, tree in _sources(root, host):
        node: Node | None = tree
        place = tree.place
        for step in path:
            place = _place(node, step) or place
            node = _child(node, step)
            if node is None or node.tag:
                break
        if node is not None:
            found.append(Candidate(source, _told(place, node), node.plain(), node.tag))
    return found[::-1]


def split(document: Node, text: str) -> tuple[str, ...] | None:
    """The steps of a path as people write it: keys may hold dots (``system.files./etc/x.conf``).

    ``None`` where the document has no such value.
    """
    if not text:
        return ()
    if isinstance(document.value, dict):
        keys: list[str] = list(document.value)
    elif isinstance(document.value, list):
        keys = [str(n) for n in range(len(document.value))]
    else:
        return None
    for key in sorted(keys, key=len, reverse=True):
        if text == key or text.startswith(f"{key}."):
            node = _child(document, key)
            rest = split(node, text[len(key) + 1 :]) if node is not None else None
            if rest is not None:
                return (key, *rest)
    return None


def at(document: Node, path: tuple[str, ...]) -> Node:
    """The node of a path that :func:`split` found."""
    node = document
    for step in path:
        inner = _child(node, step)
        assert inner is not None  # noqa: S101 (it was found there)
        node = inner
    return node


def paths(node: Node, above: str = "") -> list[str]:
    """Every path of a document, the inner ones too."""
    found = []
    named = node.value.items() if isinstance(node.value, dict) else ()
    listed = enumerate(node.value) if isinstance(node.value, list) else ()
    for key, inner in [*named, *listed]:
        found += [f"{above}{key}", *paths(inner, f"{above}{key}.")]
    return found


def _sources(root: Path, host: str) -> list[tuple[str, Node]]:
    """Trees that make up the host, the weakest first."""
    found: list[tuple[str, Node]] = []
    lab, _ = read(root / "lab.yaml", "lab.yaml")
    variables = lab.get(_OF_LAB) if lab is not None else None
    if lab is not None and variables is not None:
        tree = Node({_OF_LAB: variables}, lab.place, {_OF_LAB: lab.keys[_OF_LAB]})
        found.append(("lab.yaml", tree))
    entry = _entry(root, host)
    if entry is None:
        return found
    personas = _personas(root)
    persona = entry.get("persona")
    if persona is not None:
        lineage = _lineage(personas, str(persona.value), ())
        found += [(f"persona {name}", personas[name]) for name in lineage]
    return [*found, (f"host {host}", entry)]


def _entry(root: Path, host: str) -> Node | None:
    for path in sorted((root / "inventory").glob("*.y*ml")):
        tree, _ = read(path, path.relative_to(root).as_posix())
        hosts = tree.get("hosts") if tree is not None else None
        entry = hosts.get(host) if hosts is not None else None
        if entry is not None:
            return entry
    return None


def _personas(root: Path) -> dict[str, Node]:
    found = {}
    for path in sorted((root / "personas").glob("*.y*ml")):
        tree, _ = read(path, path.relative_to(root).as_posix())
        if tree is not None:
            found[path.stem] = tree
    return found


def _lineage(personas: Mapping[str, Node], name: str, via: tuple[str, ...]) -> list[str]:
    """The persona and all it extends, the weakest first; each as often as it counts."""
    if name not in personas or name in via:
        return []
    extends = personas[name].get("extends")
    parents = extends.value if extends is not None and isinstance(extends.value, list) else []
    above = [n for p in parents for n in _lineage(personas, str(p.value), (*via, name))]
    return [*dict.fromkeys(above), name]


def _child(node: Node | None, step: str) -> Node | None:
    if node is None:
        return None
    if isinstance(node.value, list):
        inside: Node | None = (
            node.value[int(step)] if step.isdigit() and int(step) < len(node.value) else None
        )
        return inside
    return node.get(step)


def _place(node: Node | None, step: str) -> Place | None:
    return node.keys.get(step) if node is not None else None


def _told(key: Place, node: Node) -> Place:
    """Where the value stands; of a mapping or list, where its key does: that is its beginning."""
    return key if isinstance(node.value, (dict, list)) else node.place
