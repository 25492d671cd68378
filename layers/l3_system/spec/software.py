"""``packages``."""

from __future__ import annotations

from layers.l3_system.spec.types import Declared, PackageName


class Software(Declared):
    """The keys of ``system`` about what is installed."""

    packages: tuple[PackageName, ...] = ()
