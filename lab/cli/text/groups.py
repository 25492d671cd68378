"""Hosts with the same plan, told once: what makes ten thousand hosts readable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from lab.cli.text.look import Look, clean, fit, host_name
from lab.model.outcome import PartReport
from lab.model.plan import Change, FieldDiff, Plan

PLACEHOLDER = "<host>"
NAMES_SHOWN = 4


@dataclass(frozen=True)
class Group:
    """Hosts whose plans differ in nothing but the host's own name.

    ``parts`` are those of the first host; of several hosts the name is replaced by ``<host>``.
    """

    hosts: tuple[str, ...]
    parts: tuple[PartReport, ...]

    @property
    def is_worth_showing(self) -> bool:
        """Whether there is a change, a blocker, a note or a failure."""
        return any(p.plan or p.plan.notes or p.failure for p in self.parts)

    @property
    def loses(self) -> bool:
        """Whether something is lost for good."""
        return any(c.destroys for p in self.parts for c in p.plan.changes)

    @property
    def danger(self) -> tuple[int, int]:
        """Rank for display: what cannot go on and what loses something stands first."""
        actions = [c.action.danger for p in self.parts for c in p.plan.changes]
        return (0 if self.loses else 1, min(actions, default=9))


def grouped(parts: Iterable[PartReport]) -> list[Group]:
    """All hosts in groups of equal plans, the most dangerous first, else as declared."""
    by_host: dict[str, list[PartReport]] = {}
    for part in parts:
        by_host.setdefault(part.host, []).append(part)
    by_key: dict[Any, list[str]] = {}
    for host, own in by_host.items():
        by_key.setdefault(tuple(_part_key(host, p) for p in own), []).append(host)
    groups = []
    for hosts in by_key.values():
        own = by_host[hosts[0]]
        if len(hosts) > 1:
            own = [_nameless(p) for p in own]
        groups.append(Group(tuple(hosts), tuple(own)))
    return sorted(groups, key=lambda g: g.danger)


def hosts_of(hosts: tuple[str, ...], look: Look) -> str:
    """``web1``, ``web1, web2``, ``web1 … web500 (500 hosts)``."""
    if len(hosts) <= NAMES_SHOWN:
        return fit(
            clean(", ".join(map(host_name, hosts))), max(look.width - 4, 20), look.signs.more
        )
    text = f"{hosts[0]} {look.signs.more} {hosts[-1]} ({len(hosts):,} hosts)"
    return fit(clean(text), max(look.width - 4, 20), look.signs.more)


def without(host: str, text: str) -> str:
    """The text with every whole word ``host`` replaced by the placeholder."""
    at = text.find(host) if host else -1  # what several hosts share belongs to no host
    if at < 0:
        return text
    pieces, start = [], 0
    while at >= 0:
        end = at + len(host)
        if not _is_name(text[at - 1 : at]) and not _is_name(text[end : end + 1]):
            pieces += [text[start:at], PLACEHOLDER]
            start = end
        at = text.find(host, end)
    return "".join([*pieces, text[start:]])


def _is_name(character: str) -> bool:
    return character.isalnum() or character in {"-", "_"}


def _part_key(host: str, part: PartReport) -> Any:
    plan = part.plan
    failure = part.failure
    if not plan and not plan.notes and failure is None:
        return (part.layer, part.part, part.driver, part.outcome)
    told = (failure.kind, without(host, failure.message)) if failure else None
    return (
        part.layer,
        part.part,
        part.driver,
        part.outcome,
        plan.predicted,
        told,
        tuple(_change_key(host, c) for c in plan.changes),
        tuple((without(host, b.what), b.why) for b in plan.blockers),
        tuple(without(host, n) for n in plan.notes),
    )


def _change_key(host: str, change: Change) -> Any:
    return (
        change.action,
        without(host, change.what),
        without(host, change.reason),
        without(host, change.destroys),
        without(host, change.interrupts),
        change.guarded,
        tuple(_field_key(host, f) for f in change.fields),
    )


def _field_key(host: str, field: FieldDiff) -> Any:
    if field.text:  # says all there is to say; the hash of a file with the host's name differs
        return (field.field, without(host, field.text))
    return (
        field.field,
        _value_key(host, field.before),
        _value_key(host, field.after),
    )


def _value_key(host: str, value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else repr(value)
    return without(host, text)


def _nameless(part: PartReport) -> PartReport:
    def away(value: Any) -> Any:
        if isinstance(value, str):
            return without(part.host, value)
        if isinstance(value, list):
            return [away(v) for v in value]
        if isinstance(value, dict):
            return {away(k): away(v) for k, v in value.items()}
        return value

    def changed(change: Change) -> Change:
        return replace(
            change,
            what=away(change.what),
            reason=away(change.reason),
            destroys=away(change.destroys),
            interrupts=away(change.interrupts),
            fields=tuple(
                FieldDiff(f.field, away(f.before), away(f.after), away(f.text), f.secret)
                for f in change.fields
            ),
        )

    blockers = tuple(
        replace(b, what=away(b.what), why=away(b.why), hint=away(b.hint))
        for b in part.plan.blockers
    )
    plan = Plan(
        changes=tuple(changed(c) for c in part.plan.changes),
        blockers=blockers,
        predicted=part.plan.predicted,
        notes=tuple(away(n) for n in part.plan.notes),
    )
    failure = part.failure
    if failure is not None:
        failure = replace(failure, message=away(failure.message), hint=away(failure.hint))
    return replace(part, plan=plan, failure=failure)
