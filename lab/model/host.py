"""A host: who it is, what it is for, and what each layer must make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from lab.model.dataset import DataSet
from lab.model.declared import Lifecycle

NO_VARS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Part:
    """One target of one layer: which driver carries it out, and its validated spec.

    ``name`` tells the parts of one layer apart (a workload's name); ``""`` where there is but one.
    """

    name: str
    driver: str
    spec: BaseModel


@dataclass(frozen=True, slots=True)
class Host:
    """One host, everything resolved: overlay over persona over what the persona extends.

    Attributes:
        name: As in the inventory; also its hostname. Letters, digits and hyphens.
        persona: The persona's name.
        provider: The name of the provider in ``lab.yaml``.
        address: ``"192.0.2.11/24"``, or ``None`` where the provider gives one.
        after: Hosts that must be converged before this one.
        protect: Nothing of this host may be destroyed, whatever the flags say.
        vars: Free values for templates.
        parts: Layer name to its targets, in the order they are converged.
        lifecycle: How often it is captured and drilled, and what a rebuild may cost.
        data: What must not be lost and belongs to no workload (the persona's ``data:``).
    """

    name: str
    persona: str
    provider: str
    address: str | None = None
    after: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()
    protect: bool = False
    vars: Mapping[str, Any] = field(default_factory=lambda: NO_VARS)
    parts: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    data: tuple[DataSet, ...] = ()
