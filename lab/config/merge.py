"""Overlay over persona over what the persona extends: one rule for all of them.

Mappings merge key by key, lists append what is not there yet, anything else is replaced. A value
tagged ``!override`` replaces, a key tagged ``!reset`` is removed: Compose's words for it.
"""

from __future__ import annotations

from lab.config.tree import Node


def merge(base: Node, over: Node) -> Node:
    """``over`` laid upon ``base``. Returns ``base`` itself where ``over`` adds nothing."""
    if over.tag == "!override":
        return Node(over.value, over.place, over.keys)
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        return _mapping(base, over)
    if isinstance(base.value, list) and isinstance(over.value, list):
        have = [n.plain() for n in base.value]
        fresh = [n for n in over.value if n.plain() not in have]
        return Node([*base.value, *fresh], over.place) if fresh else base
    return over


def _mapping(base: Node, over: Node) -> Node:
    if not over.value:
        return base
    values, keys = dict(base.value), dict(base.keys)
    for key, node in over.value.items():
        if node.tag == "!reset":
            values.pop(key, None)
            keys.pop(key, None)
            continue
        values[key] = merge(values[key], node) if key in values else node
        keys[key] = over.keys[key]
    return Node(values, over.place, keys)


def without(node: Node, keys: frozenset[str]) -> Node:
    """The mapping without those keys (and without what its own tags reset)."""
    if not isinstance(node.value, dict):
        return node
    kept = {k: v for k, v in node.value.items() if k not in keys}
    return Node(kept, node.place, {k: node.keys[k] for k in kept})
