"""Which host uses which secret: what the merged documents say, without any key."""

from __future__ import annotations

from collections.abc import Iterator

from lab.config.inventory import Inventory
from lab.config.tree import Node
from lab.model.secret import SecretName


def secret_uses(inventory: Inventory) -> dict[str, tuple[str, ...]]:
    """Every secret that the lab names, and the hosts that use it.

    ``vars`` of ``lab.yaml`` are every host's. What only a provider or a capture repository needs is
    used on this machine, by no host: its hosts are ``()``.
    """
    uses: dict[str, dict[str, None]] = {}
    shared: list[str] = []
    for key, node in (inventory.lab.value if inventory.lab is not None else {}).items():
        for name in _names(node):
            uses.setdefault(name, {})
            shared += [name] if key == "vars" else []
    for host, document in inventory.documents.items():
        for name in (*shared, *_names(document)):
            uses.setdefault(name, {})[host] = None
    return {name: tuple(hosts) for name, hosts in uses.items()}


def _names(node: Node) -> Iterator[str]:
    for _, leaf in node.walk():
        if isinstance(leaf.value, SecretName):
            yield leaf.value.name
