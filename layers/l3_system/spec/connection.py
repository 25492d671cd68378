"""What keeps the host reachable: ``ssh_server``, ``firewall``, ``network``, ``wireguard``."""

from __future__ import annotations

from layers.l3_system.spec.types import Declared


class Connection(Declared):
    """The keys of ``system`` whose change can cut us off."""
