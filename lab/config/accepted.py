"""Reading ``accepted.yaml``, and which hosts each of its entries is about."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lab.config.problems import suggest
from lab.config.tree import Node
from lab.lazy import Lazy

if TYPE_CHECKING:
    from lab.model import accepted as models
    from lab.model.accepted import Acceptance, AcceptedEntry, AcceptedFile
else:
    models = Lazy("lab.model.accepted")

NAME = "accepted.yaml"


def places(root: Path, personas: Collection[str]) -> Iterator[tuple[Path, str | None]]:
    """The files there are, each with the persona that it stands beside."""
    candidates = [(root / NAME, None), *((root / "personas" / p / NAME, p) for p in personas)]
    return ((path, persona) for path, persona in candidates if path.exists())


def lineage(personas: Mapping[str, Node]) -> dict[str, frozenset[str]]:
    """For each persona: itself and all that build on it."""
    parents = {name: _extends(node) for name, node in personas.items()}
    return {
        name: frozenset(p for p in personas if name in _above(p, parents, frozenset()))
        for name in personas
    }


def _extends(node: Node) -> list[str]:
    extends = node.get("extends")
    return (
        [str(n.value) for n in extends.value] if extends and isinstance(extends.value, list) else []
    )


def _above(name: str, parents: Mapping[str, list[str]], seen: frozenset[str]) -> frozenset[str]:
    if name in seen:
        return seen
    seen |= {name}
    for parent in parents.get(name, ()):
        seen = _above(parent, parents, seen)
    return seen


def model() -> type[AcceptedFile]:
    """What such a file is read with."""
    return models.AcceptedFile


def entries(
    file: AcceptedFile, tree: Node, beside: str | None, heirs: Mapping[str, frozenset[str]]
) -> list[Acceptance]:
    """The entries of one file."""
    return [
        models.Acceptance(
            kind=entry.kind,
            name=entry.name,
            reason=entry.reason,
            where=str(tree.find(("accepted", index))),
            host=entry.host,
            personas=_personas(entry, beside, heirs),
        )
        for index, entry in enumerate(file.accepted)
    ]


def _personas(
    entry: AcceptedEntry, beside: str | None, heirs: Mapping[str, frozenset[str]]
) -> frozenset[str] | None:
    wanted = [heirs.get(name, frozenset()) for name in (beside, entry.persona) if name is not None]
    return frozenset.intersection(*wanted) if wanted else None


def problems(
    file: AcceptedFile, tree: Node, hosts: Collection[str], personas: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Hosts and personas that do not exist: place and message."""
    for index, entry in enumerate(file.accepted):
        for key, value, known in (
            ("host", entry.host, hosts),
            ("persona", entry.persona, personas),
        ):
            if value is not None and value not in known:
                place = tree.find(("accepted", index, key))
                yield str(place), f"unknown {key} {value!r}{suggest(value, known)}"
