"""Pure: machines that are there already, and those that their provider makes, by one face."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.layer import Claim, Prediction, Target
from lab.lazy import Lazy
from lab.model.host import Host, Part
from lab.model.plan import Plan
from lab.model.undeclared import Known, Sort
from layers.l2_instantiate import existing
from layers.l2_instantiate.spec import (
    EXISTING,
    Document,
    Existing,
    Inputs,
    Observed,
    Outputs,
    Spec,
)

if TYPE_CHECKING:
    from layers.l2_instantiate import made
    from layers.l2_instantiate.placing import Problems
else:
    made = Lazy("layers.l2_instantiate.made")

Machine = Target[Spec, Inputs]


def parts(document: Document) -> tuple[Part, ...]:
    """One machine, or none where the persona declares none; one that is there is always one."""
    if document.provider.kind == EXISTING:
        return (Part("", EXISTING, Spec(existing=document.existing or Existing())),)
    return made.parts(document) if document.machine is not None else ()


def claims(host: Host, part: Part) -> tuple[Claim, ...]:
    """What only one host can have: one that is there takes nothing of this machine."""
    return () if _there(part) is not None else made.claims(host, part)


def check(host: Host, part: Part) -> Problems:
    """Addresses, and what a backend cannot give."""
    there = _there(part)
    return made.check(host, part) if there is None else existing.problems(host, there)


def known(host: Host, part: Part) -> Known:
    """Who logs in, and what else it got from here."""
    there = _there(part)
    return made.known(host, part) if there is None else frozenset({(Sort.USER, there.user)})


def plan(target: Machine, observed: Observed | None, replace_on: frozenset[str]) -> Plan:
    """The changes, in the order they are carried out."""
    if target.spec.existing is not None:
        return existing.plan(target, observed)
    return made.plan(target, observed, replace_on)


def predict(target: Machine, observed: Observed | None, plan: Plan) -> Prediction:
    """What will be handed up, and whether the layers above can look at it now."""
    if target.spec.existing is not None:
        return existing.predict(target, target.spec.existing)
    return made.predict(target, observed, plan)


def outputs(target: Machine, observed: Observed) -> Outputs:
    """How to reach a machine that is there."""
    if target.spec.existing is not None:
        return existing.outputs(target, target.spec.existing)
    return made.outputs(target, observed)


def _there(part: Part) -> Existing | None:
    assert isinstance(part.spec, Spec)  # noqa: S101 (for the type checker)
    return part.spec.existing
