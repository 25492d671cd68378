"""What other tools carry out: ``roles``, ``playbooks``, ``deploys``."""

from __future__ import annotations

from layers.l3_system.spec.types import Declared


class Tools(Declared):
    """The keys of ``system`` that are handed to another tool."""
