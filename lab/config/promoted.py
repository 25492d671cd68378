"""Reading ``promoted.yaml``: what is laid over personas by a command, not by hand.

Persona name to sections, as in a persona file. It counts for the hosts of that very persona, not
for personas that build on it: those have a definition of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from lab.config.merge import merge
from lab.config.problems import suggest
from lab.config.tree import Node, Place

NAME = "promoted.yaml"


def problems(
    tree: Node, personas: Mapping[str, Node | None], sections: Collection[str]
) -> Iterator[tuple[Place, str]]:
    """What names nothing that is there: place and message."""
    for name, node in tree.value.items():
        place = tree.keys[name]
        if name not in personas:
            yield place, f"unknown persona {name!r}{suggest(name, personas)}"
        elif not isinstance(node.value, dict):
            yield node.place, "a mapping is expected here: image: {template: …}"
        else:
            yield from _of_sections(name, node, personas[name], sections)


def _of_sections(
    name: str, node: Node, persona: Node | None, sections: Collection[str]
) -> Iterator[tuple[Place, str]]:
    for key, value in node.value.items():
        place = node.keys[key]
        if key not in sections:
            yield place, f"unknown key {key!r}{suggest(key, sections)}"
        elif not isinstance(value.value, dict):
            yield value.place, "a mapping (key: value) is expected here"
        elif persona is not None and persona.get(key) is None:
            yield place, f"persona {name} has no {key}: take this out"


def laid_over(persona: Node, tree: Node | None, name: str) -> Node:
    """The persona as its hosts have it; itself where nothing is promoted for it."""
    over = tree.get(name) if tree is not None else None
    return persona if over is None else merge(persona, over)
