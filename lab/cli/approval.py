"""The two questions, and when neither is asked: pure decisions, with the asking handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lab.errors import Destructive, PlanError
from lab.model.outcome import RunReport

NAMES_TYPED = 3
"""Up to this many hosts are typed one by one; for more, the lab's name stands for all."""

Ask = Callable[[str], str]
"""Shows a question and returns the answer; ``""`` at the end of input."""


@dataclass(frozen=True)
class Consent:
    """What the flags already allow.

    Attributes:
        yes: ``--yes``: the plan is approved. Never stands for a typed name.
        allow_destroy: ``--allow-destroy``: the hosts in ``names`` may lose something.
        names: ``--confirm NAME``: typed out beforehand.
        can_ask: A person is there, and ``--no-input`` was not given.
    """

    yes: bool = False
    allow_destroy: bool = False
    names: frozenset[str] = frozenset()
    can_ask: bool = False


@dataclass(frozen=True)
class Decision:
    """What was decided: go on or not, and which names were typed."""

    go: bool
    allow_destroy: bool = False
    names: frozenset[str] = frozenset()


def losing(report: RunReport) -> dict[str, list[str]]:
    """Hosts that lose something for good, and what; in the report's order."""
    lost: dict[str, list[str]] = {}
    for part in report.parts:
        for change in part.plan.changes:
            if change.destroys and part.host:
                lost.setdefault(part.host, []).append(change.destroys)
    return lost


def decide(report: RunReport, consent: Consent, ask: Ask, lab: str) -> Decision:
    """Ask what has to be asked about a plan that is on the screen.

    Raises PlanError where a question is needed and nobody can be asked.
    """
    if not consent.yes:
        if not consent.can_ask:
            raise PlanError(
                "The plan was not approved: there is no terminal to ask on.",
                hint="the same command with --yes, or lab plan --out FILE and "
                "lab converge --plan FILE",
            )
        if not agrees(ask("Apply this plan? [y/N] ")):
            return Decision(go=False)
    lost = losing(report)
    if not lost:
        return Decision(go=True, allow_destroy=consent.allow_destroy, names=consent.names)
    return confirm(lost, consent, ask, lab)


def confirm(hosts: Iterable[str], consent: Consent, ask: Ask, lab: str) -> Decision:
    """Have the name of every host typed that was not confirmed beforehand.

    Raises Destructive where nobody can be asked.
    """
    wanted = list(hosts)
    missing = [h for h in wanted if h not in consent.names]
    if missing and not consent.can_ask:
        few = missing if len(missing) <= NAMES_TYPED else ["NAME"]
        flags = " ".join(f"--confirm {name}" for name in few)
        raise Destructive(
            f"Unable to go on: {_listed(missing)} would lose something for good, "
            "and nobody typed the name.",
            hint=f"the same command with {flags}",
        )
    words = missing if len(missing) <= NAMES_TYPED else [lab]
    for word in words:
        if ask(f"Type {word} to confirm: ").strip() != word:
            return Decision(go=False)
    return Decision(go=True, allow_destroy=True, names=consent.names | frozenset(wanted))


def agrees(answer: str) -> bool:
    """Only a clear yes is a yes."""
    return answer.strip().lower() in {"y", "yes"}


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:NAMES_TYPED])
    rest = len(names) - NAMES_TYPED
    return f"{shown} and {rest} more" if rest > 0 else shown
