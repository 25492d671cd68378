"""How every host stands, from the journal alone: no network, no host is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from lab.engine.digests import Digests
from lab.journal import Owned, PartRecord, Score
from lab.layer import Layer
from lab.model.host import Host
from lab.model.outcome import Outcome


class Standing(StrEnum):
    """The standing of a thing; one set of words everywhere."""

    DECLARED = "declared"
    CONVERGED = "converged"
    DRIFTED = "drifted"
    PENDING = "pending"
    RUNNING = "running"
    FAILED = "failed"
    REVERTED = "reverted"
    UNKNOWN = "unknown"


NO_SCORES: Mapping[str, Score] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LayerStatus:
    """One layer of one host; ``at`` is when that was last known (epoch seconds), or ``None``."""

    layer: str
    standing: Standing
    at: float | None = None
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class HostStatus:
    """One host.

    Attributes:
        declared: False for one that only the ledger knows.
        entropy: What its last survey came to; ``None`` = there was none.
        surveyed: When that was (epoch seconds).
        commit: What it was last brought to as a whole, with ``+`` where files differed from it;
            ``None`` = never, or from files in no repository.
    """

    host: str
    persona: str
    provider: str
    layers: tuple[LayerStatus, ...]
    declared: bool = True
    entropy: int | None = None
    surveyed: float | None = None
    commit: str | None = None

    @property
    def behind(self) -> bool:
        """Whether anything of it is not as declared, as far as the journal knows."""
        return any(s.standing is not Standing.CONVERGED for s in self.layers)


def standings(
    hosts: Iterable[Host],
    layers: tuple[Layer, ...],
    records: Iterable[PartRecord],
    ledger: Iterable[Owned],
    scores: Mapping[str, Score] = NO_SCORES,
) -> list[HostStatus]:
    """Every declared host in order, then those that only the ledger knows."""
    last: dict[tuple[str, str], list[PartRecord]] = {}
    for record in records:
        last.setdefault((record.host, record.layer), []).append(record)
    digests = Digests(layers)
    found: list[HostStatus] = []
    for host in hosts:
        of_layers = tuple(
            _layer(host, layer, last.get((host.name, layer.name), []), digests)
            for layer in layers
            if host.parts.get(layer.name)
        )
        status = HostStatus(host.name, host.persona, host.provider, of_layers)
        last_score = scores.get(host.name)
        if last_score is not None:
            status = replace(status, entropy=last_score.score, surveyed=last_score.at)
        found.append(status)
    declared = {h.host for h in found}
    orphans = {t.host: t for t in ledger if t.host not in declared}.values()
    return found + [HostStatus(t.host, t.persona, t.provider, (), declared=False) for t in orphans]


def _layer(host: Host, layer: Layer, records: list[PartRecord], digests: Digests) -> LayerStatus:
    names = {p.name for p in host.parts[layer.name]}
    own = [r for r in records if r.part in names]
    if not own:
        return LayerStatus(layer.name, Standing.DECLARED)
    worst = max(own, key=lambda r: (not Outcome(r.outcome).is_good, r.ended))
    at = max(r.ended for r in own)
    if not Outcome(worst.outcome).is_good:
        waiting = {Outcome.BLOCKED, Outcome.UNREACHABLE, Outcome.INTERRUPTED}
        standing = Standing.UNKNOWN if Outcome(worst.outcome) in waiting else Standing.FAILED
        if Outcome(worst.outcome) is Outcome.REVERTED:
            standing = Standing.REVERTED
        return LayerStatus(layer.name, standing, at, worst.outcome)
    current = digests.of(host, layer.name)
    same = len(own) == len(names) and all(r.spec == current for r in own)
    standing = Standing.CONVERGED if same else Standing.PENDING
    return LayerStatus(layer.name, standing, at, worst.outcome)
