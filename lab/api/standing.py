"""How every host stands, from the journal alone: no network, no host is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from lab.api.durability import CaptureStatus, DrillStatus, by_host, captures_of, drill_of
from lab.config.datasets import IDENTITY, data_sets
from lab.engine.digests import Digests
from lab.journal import Holder, Journal, Look, Owned, PartRecord, Score, holders
from lab.layer import Layer
from lab.model.applied import Applied
from lab.model.host import Host
from lab.model.outcome import Outcome
from lab.model.recovered import CaptureRecord, DrillRecord


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


_WORST_FIRST = (
    Standing.FAILED,
    Standing.REVERTED,
    Standing.UNKNOWN,
    Standing.DRIFTED,
    Standing.PENDING,
    Standing.DECLARED,
)


@dataclass(frozen=True, slots=True)
class LayerStatus:
    """One layer of one host.

    Attributes:
        at: When that was last known (epoch seconds), or ``None``.
        outcome: How the run or the look ended that says so.
        since: Since when it has been failing, unreachable, drifted …; ``None`` where it is well.
        good_at: When it was last known to be as declared.
        changes: How many changes the last look found to be made; ``None`` = nobody looked since.
    """

    layer: str
    standing: Standing
    at: float | None = None
    outcome: str = ""
    since: float | None = None
    good_at: float | None = None
    changes: int | None = None


@dataclass(frozen=True, slots=True)
class HostStatus:
    """One host.

    Attributes:
        declared: False for one that only the ledger knows.
        entropy: What its last survey came to; ``None`` = there was none.
        surveyed: When that was (epoch seconds).
        running: Who works on it at this moment.
        captures: Its data sets.
        drill: How its drills stand; ``None`` = none is declared, none was made.
        rto: The longest that its persona allows a rebuild to take (seconds).
        rpo: The most work that may be lost (seconds).
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
    running: Holder | None = None
    captures: tuple[CaptureStatus, ...] = ()
    drill: DrillStatus | None = None
    rto: int | None = None
    rpo: int | None = None
    commit: str | None = None

    @property
    def behind(self) -> bool:
        """Whether anything of it is not as declared, as far as the journal knows."""
        return any(s.standing is not Standing.CONVERGED for s in self.layers)

    @property
    def standing(self) -> Standing:
        """Of the host as a whole: running, else that of its worst layer."""
        if self.running is not None:
            return Standing.RUNNING
        found = {s.standing for s in self.layers}
        if not self.declared:
            return Standing.UNKNOWN
        return next((s for s in _WORST_FIRST if s in found), Standing.CONVERGED)

    @property
    def unsafe(self) -> bool:
        """Whether its data may not come back: a capture is late or flagged, a drill late or bad."""
        bad = any(c.overdue or c.flagged for c in self.captures)
        drill = self.drill
        if drill is None:
            return bad
        return bad or drill.overdue or drill.slow or (drill.at is not None and not drill.proved)

    @property
    def needs_attention(self) -> bool:
        """Whether somebody should look: what ``lab status`` ends with exit code 2 for."""
        return self.behind or self.unsafe or not self.declared

    @property
    def good_at(self) -> float | None:
        """When all of it was last known to be as declared; ``None`` = never."""
        times = [s.good_at for s in self.layers]
        known = [t for t in times if t is not None]
        return min(known) if known and len(known) == len(times) else None


@dataclass(frozen=True)
class Known:
    """What the journal and the locks say; everything may be left out."""

    records: Iterable[PartRecord] = ()
    ledger: Iterable[Owned] = ()
    scores: Mapping[str, Score] = field(default_factory=dict)
    looks: Iterable[Look] = ()
    bad_since: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    first_seen: Mapping[str, float] = field(default_factory=dict)
    captures: Iterable[CaptureRecord] = ()
    drills: Iterable[DrillRecord] = ()
    holders: Mapping[str, Holder] = field(default_factory=dict)
    applied: Mapping[str, Applied] = field(default_factory=dict)


def remembered(journal: Journal, locks: Path) -> Known:
    """All of it, as the journal and the locks in that folder have it now."""
    records = journal.last_parts()
    bad = [(r.host, r.layer, r.part) for r in records if not Outcome(r.outcome).is_good]
    return Known(
        records=records,
        ledger=journal.ledger(),
        scores=journal.scores(),
        looks=journal.looks(),
        bad_since={key: at for key in bad if (at := journal.bad_since(*key)) is not None},
        first_seen=journal.first_seen(),
        captures=journal.captures(),
        drills=journal.drills(),
        holders=holders(locks),
        applied=journal.applied(),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What is known of one part: the later of its last run and the last look at it."""

    outcome: Outcome
    spec: str
    at: float
    since: float | None = None
    drifted: bool = False
    good_at: float | None = None
    changes: int | None = None


def standings(
    hosts: Iterable[Host], layers: tuple[Layer, ...], known: Known, now: float
) -> list[HostStatus]:
    """Every declared host in order, then those that only the ledger knows."""
    parts = _parts(known)
    captures, drills = by_host(known.captures), by_host(known.drills)
    digests = Digests(layers)
    found: list[HostStatus] = []
    for host in hosts:
        name, since = host.name, known.first_seen.get(host.name)
        expected, kept = _expected(host, layers), captures.get(name, ())
        score = known.scores.get(name)
        found.append(
            HostStatus(
                host=name,
                persona=host.persona,
                provider=host.provider,
                layers=tuple(
                    _layer(host, layer, parts, digests)
                    for layer in layers
                    if host.parts.get(layer.name)
                ),
                entropy=score.score if score else None,
                surveyed=score.at if score else None,
                running=known.holders.get(name),
                captures=captures_of(host, expected, kept, now, since),
                drill=drill_of(host, drills.get(name, ()), now, since),
                rto=host.lifecycle.rto,
                rpo=host.lifecycle.rpo,
                commit=known.applied[name].commit or None if name in known.applied else None,
            )
        )
    declared = {h.host for h in found}
    orphans = {t.host: t for t in known.ledger if t.host not in declared}.values()
    return found + [HostStatus(t.host, t.persona, t.provider, (), declared=False) for t in orphans]


def _expected(host: Host, layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """What there are captures of, once the host is captured at all."""
    return (*(one.name for one in data_sets(host, layers)), IDENTITY)


def _parts(known: Known) -> dict[tuple[str, str, str], _Part]:
    found: dict[tuple[str, str, str], _Part] = {}
    for record in known.records:
        key, outcome = (record.host, record.layer, record.part), Outcome(record.outcome)
        good_at = record.ended if outcome.is_good else None
        since = known.bad_since.get(key)
        found[key] = _Part(outcome, record.spec, record.ended, since, good_at=good_at)
    for look in known.looks:
        key = (look.host, look.layer, look.part)
        before = found.get(key)
        if before is None or look.at > before.at:
            found[key] = _looked(look, before)
    return found


def _looked(look: Look, before: _Part | None) -> _Part:
    """A look that is later than the last run."""
    outcome = Outcome(look.outcome)
    if outcome is Outcome.UNCHANGED:
        return _Part(outcome, look.spec, look.at, good_at=look.at, changes=0)
    good_at = before.good_at if before else None
    if outcome is Outcome.PENDING:
        if before is None or not before.outcome.is_good:
            was = before or _Part(outcome, "", look.at)
            return _Part(was.outcome, was.spec, was.at, was.since, changes=look.changes)
        drifted = before.spec == look.spec
        since = look.since if drifted else None
        return _Part(outcome, before.spec, look.at, since, drifted, good_at, look.changes)
    return _Part(outcome, look.spec, look.at, look.since, good_at=good_at)


def _layer(
    host: Host, layer: Layer, parts: Mapping[tuple[str, str, str], _Part], digests: Digests
) -> LayerStatus:
    names = dict.fromkeys(p.name for p in host.parts[layer.name])
    own = [p for n in names if (p := parts.get((host.name, layer.name, n))) is not None]
    if not own or all(p.outcome is Outcome.PENDING and not p.spec for p in own):
        return LayerStatus(layer.name, Standing.DECLARED, changes=_count(own))
    worst = max(own, key=lambda p: (not p.outcome.is_good, p.at))
    complete = len(own) == len(names)
    good = [p.good_at for p in own if p.good_at is not None]
    current = digests.of(host, layer.name)
    return LayerStatus(
        layer=layer.name,
        standing=_standing(own, worst, current, complete=complete),
        at=max(p.at for p in own),
        outcome=worst.outcome.value,
        since=min((p.since for p in own if p.since is not None), default=None),
        good_at=min(good) if complete and len(good) == len(own) else None,
        changes=_count(own),
    )


def _standing(own: Sequence[_Part], worst: _Part, current: str, *, complete: bool) -> Standing:
    if worst.outcome is Outcome.REVERTED:
        return Standing.REVERTED
    if worst.outcome in {Outcome.BLOCKED, Outcome.UNREACHABLE, Outcome.INTERRUPTED}:
        return Standing.UNKNOWN
    if not worst.outcome.is_good:
        return Standing.FAILED
    if not complete or any(p.spec != current for p in own):
        return Standing.PENDING
    return Standing.DRIFTED if any(p.drifted for p in own) else Standing.CONVERGED


def _count(own: Sequence[_Part]) -> int | None:
    counts = [p.changes for p in own if p.changes is not None]
    return sum(counts) if counts else None
