"""A Proxmox VE API server for tests, held to what the real one was recorded to say.

`ProxmoxStandIn` is all that a test needs; `python -m tests.standins.proxmox` is the same for a
person. What belongs here: the wire, the schema's validation, the state of a small cluster, and
faults on demand. What does not: anything that knows of Strata.
"""

from .faults import Fault, How, Seen
from .schema import SchemaMissingError
from .standin import ProxmoxStandIn
from .world import GIB, Guest

__all__ = ["GIB", "Fault", "Guest", "How", "ProxmoxStandIn", "SchemaMissingError", "Seen"]
