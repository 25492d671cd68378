"""The protocol: what a layer is, and the two methods a driver's author writes.

A driver observes one target and applies one change to it. Everything else (order, approval,
journal, locks, verification, progress, cancelling) belongs to the engine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from lab.errors import Interrupted
from lab.model.dataset import DataSet
from lab.model.host import Host, Part
from lab.model.outcome import Finding
from lab.model.plan import Change, Plan
from lab.model.undeclared import Known

SpecT = TypeVar("SpecT", bound=BaseModel)
InputsT = TypeVar("InputsT", bound=BaseModel)
ObservedT_co = TypeVar("ObservedT_co", bound=BaseModel, covariant=True)
ResourceT = TypeVar("ResourceT")


class Report(Protocol):
    """How a driver says what it is doing: a few words, and bytes or items where they are known."""

    def __call__(self, doing: str, done: int | None = None, total: int | None = None) -> None:
        """Tell; ``done`` of ``total`` where both are known."""
        ...


def silent(doing: str, done: int | None = None, total: int | None = None) -> None:
    """A :class:`Report` that nobody listens to."""


@dataclass(frozen=True)
class Target(Generic[SpecT, InputsT]):
    """The one argument a driver gets: which host, what is wanted, what the layers below hand up.

    Attributes:
        host: The whole host, for its name, address, tags and vars.
        spec: What is declared. With ``absent`` it is what *was* declared, and must go.
        inputs: From below. Before the machine exists these are predictions.
        name: The part's name (a workload's), ``""`` where the layer has but one part.
        renew: It is to be made anew, though nothing differs; only said to layers whose things
            ``destroy`` removes, and not when looking again afterwards.
        report: Progress for people; calling it is cheap and optional.
    """

    host: Host
    spec: SpecT
    inputs: InputsT
    name: str = ""
    absent: bool = False
    with_data: bool = False
    adopt: bool = False
    renew: bool = False
    report: Report = field(default=silent, compare=False, repr=False)


class Driver(Protocol[SpecT, InputsT, ObservedT_co]):
    """One backend of one layer.

    Instances are shared by all hosts and called from several threads at once: they MUST keep no
    state of a target on themselves. They raise nothing but :class:`lab.errors.LabError` for what
    the world does to them. They MUST NOT print.
    """

    @property
    def replace_on(self) -> frozenset[str]:
        """Fields of the spec that this backend can change only by re-creating."""
        ...

    def observe(self, target: Target[SpecT, InputsT]) -> ObservedT_co | None:
        """What is there; ``None`` means absent. MUST be read-only.

        Raises TransportError where it cannot be reached (never ``None``: unknown is not absent).
        """
        ...

    def apply(self, target: Target[SpecT, InputsT], change: Change) -> None:
        """Carry out one change of the plan. MUST be safe to repeat after a crash at any point."""
        ...


class Above(StrEnum):
    """What a pending change means for the layers above, while it is only planned."""

    AS_IS = "as is"  # they can be observed now, and will be the same afterwards
    FRESH = "fresh"  # they will start on something newly made: plan against ``Layer.fresh``
    UNSEEN = "unseen"  # they exist, but cannot be observed until the change is applied


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a layer will hand up once its plan is applied (values not yet known are ``None``)."""

    outputs: BaseModel
    above: Above = Above.AS_IS


@dataclass(frozen=True)
class Workspace:
    """Where one lab keeps things on this machine, and what its drivers share during a run.

    Attributes:
        lab: The lab's name; also the mark on everything that is created.
        root: The checkout with ``lab.yaml``.
        state: Durable, mode 0700: machines, disks, images, keys, journal.
        cache: May be deleted at any time.
        runtime: Sockets and decrypted material; gone after a reboot. Short, for socket paths.
        cancelled: Set when the user asked to stop; long work MUST look at it often.
        lender: The state folder of the lab that this is a throwaway twin of: what is dear to make
            and never changes (a template) may be shared from there.
    """

    lab: str
    root: Path
    state: Path
    cache: Path
    runtime: Path
    cancelled: threading.Event = field(default_factory=threading.Event, compare=False)
    lender: Path | None = None
    _resources: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, compare=False, repr=False)

    def resource(self, make: Callable[[Workspace], ResourceT]) -> ResourceT:
        """The one instance of a shared thing (a pool of sessions), made on first use.

        What has a ``close()`` is closed when the run ends.
        """
        with self._lock:
            if make not in self._resources:
                self._resources[make] = make(self)
            resource: ResourceT = self._resources[make]
            return resource

    def close(self) -> None:
        """Close every shared thing, newest first. May be called twice."""
        with self._lock:
            resources = list(self._resources.values())
            self._resources.clear()
        for resource in reversed(resources):
            close = getattr(resource, "close", None)
            if close is not None:
                close()

    def check(self) -> None:
        """Raise Interrupted if the user asked to stop."""
        if self.cancelled.is_set():
            raise Interrupted("Interrupted.", hint="the same command again; it resumes")


@dataclass(frozen=True, slots=True)
class Claim:
    """Something only one host of the lab can have (``"tcp 127.0.0.1:8080"``), and where it says so.

    ``path`` leads to it in the host's merged document, for the error's file:line:column.
    """

    what: str
    path: tuple[str | int, ...]


def _no_claims(host: Host, part: Part) -> tuple[Claim, ...]:  # noqa: ARG001
    return ()


def _no_problems(host: Host, part: Part) -> tuple[tuple[tuple[str | int, ...], str], ...]:  # noqa: ARG001
    return ()


def _nothing_found(
    workspace: Workspace,  # noqa: ARG001
    host: Host,  # noqa: ARG001
    part: Part,  # noqa: ARG001
    hosts: Sequence[Host] = (),  # noqa: ARG001
) -> tuple[Finding, ...]:
    return ()


def _nothing_known(host: Host, part: Part) -> Known:  # noqa: ARG001
    return frozenset()


def _no_data(host: Host, part: Part) -> tuple[DataSet, ...]:  # noqa: ARG001
    return ()


def _first_part(layer: Layer, host: Host) -> Part | None:
    return next(iter(host.parts.get(layer.name, ())), None)


def _not_shared(target: Target[Any, Any]) -> str | None:  # noqa: ARG001
    return None


def _never_fresh(target: Target[Any, Any]) -> None:  # noqa: ARG001
    return None


@dataclass(frozen=True)
class Layer:
    """One of the five: its data types, its pure functions and its drivers.

    ``document`` is a pydantic model of the sections of a host's merged document that this layer
    reads. ``sections`` names those it owns (a key that no layer owns is a mistake of the user).
    Everything below ``parts`` is pure.

    Attributes:
        name: ``"l2_instantiate"``.
        title: One word for people: ``"machine"``.
        sections: Top-level persona keys this layer owns: ``("machine",)``.
        optional: Where a host has none of its sections, there is nothing of it there: then its
            models are not even loaded.
        document: Validates ``{"host": …, "provider": …, <persona sections>…}``; ignores what it
            does not read, forbids unknown keys inside what it owns.
        spec: The model of one part's spec (kept in the ledger as JSON, read back from it).
        inputs: What it needs from below, validated from all that was handed up so far.
        parts: The targets of a host, in order; driver names are keys of ``drivers``.
        plan: ``plan(target, observed, replace_on)``. With ``target.absent``: what must be deleted.
        predict: What will be handed up once the plan is applied, and what it means above.
        outputs: What is handed up, from what was observed after applying.
        fresh: What observing a newly made machine will find; ``None`` = nothing there.
        shared: A key where several hosts share one thing (a template): made once, by the first.
        claims: What only one host can have.
        check: Problems that validation by types cannot find: ``(path, message)``.
        known: What this part puts on the machine that a look at the whole machine will come
            across (the login's user, a workload's data): no reason to tell of it.
        data: What this part keeps on the machine that must not be lost.
        surveyor: The part whose driver, where it can, tells what is there undeclared; ``None`` =
            nobody on this host. A part of no workload at all may stand for a host without any.
        findings: For ``lab doctor``: what is well and what is not, each with the line that mends
            it; ``findings(workspace, host, part, hosts)``, of all ``hosts`` that are looked at.
            Looks at the world, changes nothing.
        prune_parts: A part that is no longer declared is planned as absent (workloads); otherwise
            only ``destroy`` removes it (machines).
        destroyed: Whether ``lab destroy`` acts on this layer.
        takes_vars: Templates and the like use the host's ``vars``: they are declared for it, too.
        stacked: Each part stands on what the parts before it make: while one of those has changes
            pending, its plan is a prediction, and open.
    """

    name: str
    title: str
    sections: tuple[str, ...]
    document: type[BaseModel]
    spec: type[BaseModel]
    inputs: type[BaseModel]
    outputs_type: type[BaseModel]
    parts: Callable[[Any], tuple[Part, ...]]
    plan: Callable[[Target[Any, Any], Any, frozenset[str]], Plan]
    predict: Callable[[Target[Any, Any], Any, Plan], Prediction]
    outputs: Callable[[Target[Any, Any], Any], BaseModel]
    drivers: Mapping[str, Callable[[Workspace], Driver[Any, Any, Any]]]
    fresh: Callable[[Target[Any, Any]], Any] = _never_fresh
    shared: Callable[[Target[Any, Any]], str | None] = _not_shared
    claims: Callable[[Host, Part], tuple[Claim, ...]] = _no_claims
    check: Callable[[Host, Part], tuple[tuple[tuple[str | int, ...], str], ...]] = _no_problems
    known: Callable[[Host, Part], Known] = _nothing_known
    data: Callable[[Host, Part], tuple[DataSet, ...]] = _no_data
    surveyor: Callable[[Layer, Host], Part | None] = _first_part
    findings: Callable[..., tuple[Finding, ...]] = _nothing_found
    prune_parts: bool = False
    destroyed: bool = False
    takes_vars: bool = False
    stacked: bool = False
    optional: bool = False

    @property
    def short(self) -> str:
        """``"l2"``: what users type."""
        return self.name.split("_", 1)[0]


__all__ = [
    "Above",
    "Claim",
    "Driver",
    "Layer",
    "Prediction",
    "Report",
    "Target",
    "Workspace",
    "silent",
]
