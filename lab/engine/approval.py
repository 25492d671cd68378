"""What was allowed: nothing is destroyed by implication, an approved plan is applied exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.errors import Destructive, Protected, Stale
from lab.model.host import Host
from lab.model.plan import Action, Change, Plan

Key = tuple[str, str, str]
"""Host, layer, part."""
UNUSED = "unused"
"""The part, of no host, that names shared things nobody needs any more."""


@dataclass(frozen=True)
class Approval:
    """What a person agreed to. The zero value allows every change that destroys nothing.

    Attributes:
        allow_destroy: Changes that destroy are allowed for the hosts in ``confirmed``.
        confirmed: Host names that were typed out.
        only: Exactly these plans and nothing else; ``None`` = any.
    """

    allow_destroy: bool = False
    confirmed: frozenset[str] = field(default_factory=frozenset)
    only: Mapping[Key, Plan] | None = None

    def check(self, host: Host, key: Key, plan: Plan, *, shared: bool = False) -> None:
        """Raise Protected, Destructive or Stale where this plan was not allowed.

        ``key`` names the approved plan: of another host where several share one thing, made once.
        ``shared``: some other host's turn may have made it already.
        """
        for change in plan.changes:
            if change.destroys:
                self._check_loss(host, change)
        if self.only is not None:
            self._check_same(host, key, plan, shared=shared)

    def permits(self, layer: str, change: Change) -> bool:
        """Whether a shared thing that nobody uses may be pruned: not if the plan left it out."""
        if self.only is None:
            return True
        approved = self.only.get(("", layer, UNUSED), Plan())
        return any(c.what == change.what for c in approved.changes)

    def _check_loss(self, host: Host, change: Change) -> None:
        loss = f"Unable to {change.action} {change.what} of {host.name}: it would lose"
        if host.protect:
            raise Protected(
                f"{loss} {change.destroys}, and {host.name} is protected.",
                hint=f"take 'protect: true' out of {host.name}'s persona or host entry, on purpose",
            )
        if not self.allow_destroy:
            raise Destructive(
                f"{loss} {change.destroys}, and that was not allowed.",
                hint=f"look at: lab plan host={host.name}; then add --allow-destroy"
                f" --confirm {host.name}",
            )
        if host.name not in self.confirmed:
            raise Destructive(
                f"{loss} {change.destroys}, and the name was not typed.",
                hint=f"add --confirm {host.name}",
            )

    def _check_same(self, host: Host, key: Key, plan: Plan, *, shared: bool) -> None:
        approved = (self.only or {}).get(key, Plan())
        if approved.open:
            return
        more = [
            c for c in plan.changes if not any(_covers(a, c, approved) for a in approved.changes)
        ]
        done = {c.identity for c in plan.changes}
        gone = [c for c in approved.changes if c.identity not in done]
        if approved.predicted or shared:
            gone = []
        if more or gone:
            some = (more or gone)[0]
            how = "was not in the approved plan" if more else "is no longer to be done"
            raise Stale(
                f"Unable to apply the approved plan on {host.name}: the world moved"
                f" ({some.action} {some.what} {how}).",
                hint="make a new plan, look at it, apply that one",
            )


def _covers(approved: Change, actual: Change, plan: Plan) -> bool:
    """Whether approving the one is approving the other.

    A prediction could not see what is there already: what it wanted to create may turn out to be
    an update, of fewer fields, to the very same values. It never covers a loss.
    """
    if approved.identity == actual.identity:
        return True
    if not plan.predicted or approved.what != actual.what or actual.destroys:
        return False
    if {approved.action, actual.action} - {Action.CREATE, Action.UPDATE}:
        return False
    wanted = {f.field: f.told for f in approved.fields}
    return all(f.field in wanted and wanted[f.field] == f.told for f in actual.fields)
