"""Which model a provider of ``lab.yaml`` is read with."""

from __future__ import annotations

from typing import Any

PROXMOX = "proxmox"
OTHER = "other"


def variant(value: Any) -> str:
    """:data:`PROXMOX`, or :data:`OTHER`."""
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return PROXMOX if kind == PROXMOX else OTHER
