"""What a run was asked for, as the journal keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.engine.approval import Approval
from lab.engine.digests import plan_digest
from lab.engine.protocol import Options
from lab.journal import Asked, command_line
from lab.layer import Layer


def asked_for(options: Options, approval: Approval, layers: Sequence[Layer]) -> Asked:
    """Layer, flags and approvals; what is as it is without any flag is left out."""
    whole = options.stop == len(layers) - 1 and options.through
    said: dict[str, Any] = {
        "layer": None if whole else layers[options.stop].short,
        "through": options.through and not whole,
        "adopt": options.adopt,
        "with_data": options.with_data,
        "allow_destroy": approval.allow_destroy,
        "confirmed": sorted(approval.confirmed),
        "approved": bool(approval.only),
    }
    plan = plan_digest(approval.only) if approval.only else None
    return Asked(command_line(), {k: v for k, v in said.items() if v}, plan)
