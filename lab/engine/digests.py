"""The digest of what is declared for one layer of a host, files' contents included."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from lab.layer import Layer
from lab.model.files import LabFile, LabProject, LabTree
from lab.model.host import Host, Part
from lab.model.plan import Plan
from lab.model.secret import Secret


class Digests:
    """Computes each digest once: hosts whose sections are equal share their parts."""

    def __init__(self, layers: Iterable[Layer] = ()) -> None:
        self._take_vars = {layer.name for layer in layers if layer.takes_vars}
        self._known: dict[int, tuple[tuple[Part, ...], str]] = {}

    def of(self, host: Host, layer: str) -> str:
        """Changes when anything that is declared for that layer does, or a secret's value."""
        parts = host.parts.get(layer, ())
        known = self._known.get(id(parts))
        if known is None:
            # keeping the parts keeps their id from being given to something else
            known = self._known[id(parts)] = (parts, _digest(parts))
        takes_vars = layer in self._take_vars and host.vars
        return digest_of([known[1], host.vars]) if takes_vars else known[1]

    def host(self, host: Host) -> str:
        """Changes when anything does that a converge of this host could act on."""
        layers = [[layer, self.of(host, layer)] for layer in host.parts]
        said = [host.name, host.persona, host.provider, host.address, host.vars, layers]
        return digest_of([*said, sorted(host.tags)])


def plan_digest(plans: Mapping[tuple[str, str, str], Plan]) -> str | None:
    """Of every change of these plans (host, layer, part); ``None`` where there is none."""
    said = [[*key, *c.identity] for key, plan in plans.items() for c in plan.changes]
    return digest_of(sorted(said)) if said else None


def _digest(parts: tuple[Part, ...]) -> str:
    return digest_of([[p.name, p.driver, p.spec.model_dump()] for p in parts])


def digest_of(value: Any) -> str:
    """A short, stable hash of declared values; of a secret it takes the fingerprint."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, LabFile):
        return [value.path, value.sha256, value.executable]
    if isinstance(value, LabTree):
        return list(value.files)
    if isinstance(value, LabProject):
        return [value.main, value.tree]
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if isinstance(value, Secret):
        return [str(value), value.fingerprint]
    return str(value)
