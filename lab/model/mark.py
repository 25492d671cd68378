"""What things are marked with where they live in somebody else's engine: labels, tags."""

from __future__ import annotations

LAB = "strata.lab"
"""The lab that made it; nothing without our own is ever touched."""

HOST = "strata.host"
"""The host that it belongs to."""

TEMPLATE = "strata.template"
"""The template that it is, or was made from."""
