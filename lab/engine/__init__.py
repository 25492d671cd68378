"""plan(), converge(), verify(), destroy(): the straight line.

For each host, for each layer in order: observe, plan, apply change by change, observe again.
Converged means that the second plan is empty.

Belongs here: order, approval, scheduling, the ledger's rules. Does not belong here: what any layer
is about, and anything that touches the world itself.
"""

from lab.engine.approval import Approval
from lab.engine.run import JOBS, Engine

__all__ = ["JOBS", "Approval", "Engine"]
