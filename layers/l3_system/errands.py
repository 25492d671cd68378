"""Pure: errands from what is declared, and their plans from what a rehearsal found."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Container, Iterator, Sequence
from typing import Any

from lab.layer import Target
from lab.model.host import Part
from lab.model.plan import Action, Blocker, Change, FieldDiff, Plan
from lab.model.secret import Secret
from layers.l3_system.spec import Document, Inputs
from layers.l3_system.spec.errands import (
    DeployErrand,
    Errand,
    Nothing,
    PlaybookErrand,
    Rehearsal,
    RolesErrand,
    Step,
)
from layers.l3_system.spec.handed_over import Role
from layers.l3_system.spec.tools import Tools

ErrandTarget = Target[Any, Inputs]

_DEADLINE = 1800.0
_SEEN_LATER = "its steps are seen once the host is there"


def parts(document: Document, packages: Container[str]) -> tuple[Part, ...]:
    """Roles, then playbooks, then deploys, each in the order they are written."""
    tools = document.system
    if tools is None:
        return ()
    memory = document.provider.kind == "memory"
    ansible, pyinfra = ("memory", "memory") if memory else ("ansible", "pyinfra")
    named: list[tuple[str, str, Errand]] = [
        *((name, ansible, errand) for name, errand in _of_ansible(tools, "python3" in packages)),
        *(
            (
                f"deploy {d.deploy.main.path.rpartition('/')[2]}",
                pyinfra,
                DeployErrand(deploy=d),
            )
            for d in tools.deploys
        ),
    ]
    names = unique([name for name, _, _ in named])
    return tuple(
        Part(name, driver, errand) for name, (_, driver, errand) in zip(names, named, strict=True)
    )


def _of_ansible(tools: Tools, comes: bool) -> Iterator[tuple[str, Errand]]:  # noqa: FBT001 (one caller)
    """Neighbouring roles with the same tags are one run."""
    groups = [tuple(g) for _, g in itertools.groupby(tools.roles, key=lambda role: role.tags)]
    for roles in groups:
        name = "roles" if len(groups) == 1 else f"roles {_names(roles)}"
        yield name, RolesErrand(python_comes=comes, roles=roles, options=tools.ansible)
    for playbook in tools.playbooks:
        name = f"playbook {playbook.playbook.main.path.rpartition('/')[2]}"
        yield (
            name,
            PlaybookErrand(python_comes=comes, playbook=playbook, options=tools.ansible),
        )


def _names(roles: Sequence[Role]) -> str:
    return " ".join(role.role.name for role in roles)


def unique(names: Sequence[str]) -> list[str]:
    """The names, a second one of a kind with `` (2)`` behind it."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out


def digest(target: ErrandTarget) -> str:
    """Of everything that decides what an errand does: files and values, the host's own too."""
    errand: Errand = target.spec
    dumped = errand.model_dump(exclude={"options", "python_comes"})
    text = json.dumps([dumped, dict(target.host.vars)], sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return [value.name, value.fingerprint]
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else str(value)


def plan(target: ErrandTarget, rehearsal: Rehearsal | None) -> Plan:
    """A change a step. What a dry run cannot tell is done when the errand is new here, or changed.

    That is known from the digest that applying leaves on the host.
    """
    errand: Errand = target.spec
    if target.absent:
        return Plan()  # what a role did stays: nobody knows how to undo it
    if rehearsal is None:
        return Plan(_whole(errand, _SEEN_LATER), open=True)
    if rehearsal.missing:
        return _without(target, rehearsal.missing)
    is_new = rehearsal.applied != digest(target)
    changes = [
        _change(step, errand.always_changes.get(step.bare) or step.unseen)
        for step in rehearsal.steps
        if is_new or not _is_unclear(errand, step)
    ]
    if rehearsal.stopped and (is_new or changes):
        why = f"a dry run cannot see past it: {rehearsal.why}"
        changes.append(Change(Action.UPDATE, f"steps from {rehearsal.stopped} on", reason=why))
    notes = tuple(_notes(errand, rehearsal, is_new=is_new, is_busy=bool(changes)))
    return Plan(tuple(changes), notes=notes)


def _whole(errand: Errand, reason: str) -> tuple[Change, ...]:
    names = unique([name for name, _ in errand.pieces])
    return tuple(Change(Action.CREATE, name, reason=reason, deadline=_DEADLINE) for name in names)


def _without(target: ErrandTarget, missing: str) -> Plan:
    errand: Errand = target.spec
    if errand.python_comes and missing == "python3":
        return Plan(_whole(errand, "its steps are seen once python3 is there"), open=True)
    what = ", ".join(name for name, _ in errand.pieces)
    why = f"{missing} is not installed on {target.host.name}, and {what} cannot run without it"
    return Plan(
        blockers=(Blocker(what, why, f"in the persona: system: {{packages: [{missing}]}}"),)
    )


def _is_unclear(errand: Errand, step: Step) -> bool:
    return bool(step.unseen) or step.bare in errand.always_changes


def _change(step: Step, reason: str) -> Change:
    fields = tuple(
        FieldDiff(d.field, d.before, d.after, text=d.text, secret=d.secret)
        for d in step.differences
    )
    return Change(Action.UPDATE, step.name, fields, reason=reason, deadline=_DEADLINE)


def _notes(errand: Errand, rehearsal: Rehearsal, *, is_new: bool, is_busy: bool) -> Iterator[str]:
    known = errand.always_changes
    unseen = [s.name for s in rehearsal.steps if s.unseen and s.bare not in known]
    if unseen and not is_new:
        then = "these run too, unseen" if is_busy else "drift in these is not noticed"
        yield f"approximate: a dry run cannot tell, so {then}: {', '.join(unseen)}"
    elif unseen:
        yield "approximate: what a dry run cannot tell is done as this is new here, or changed"
    if not is_new:
        for step in rehearsal.steps:
            if step.bare in known:
                yield f"{step.name} says 'changed' at every run: {known[step.bare]}"
    if rehearsal.stopped and not (is_new or is_busy):
        yield (
            f"approximate: a dry run cannot see past {rehearsal.stopped} ({rehearsal.why}); "
            "drift in what follows is not noticed"
        )


def desired(target: ErrandTarget) -> Rehearsal:
    """What is found when nothing is left to do."""
    return Rehearsal(applied=digest(target))


def outputs() -> Nothing:
    """What is handed up."""
    return Nothing()
