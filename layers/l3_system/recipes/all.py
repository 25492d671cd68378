"""All recipes; each is imported where one of the keys that it reads is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from layers.l3_system.recipes.recipe import Recipe
from layers.l3_system.spec import System


class _Named:
    """The module of that name here; it reads the key of its name, and ``more``."""

    def __init__(self, name: str, *more: str) -> None:
        self.NAME = name
        self._keys = (name, *more)

    def expand(self, system: System) -> Mapping[str, Any]:
        """What the module says."""
        if not any(getattr(system, key) for key in self._keys):
            return {}
        module: Recipe = importlib.import_module(f"layers.l3_system.recipes.{self.NAME}")
        return module.expand(system)


RECIPES: tuple[Recipe, ...] = (
    _Named("ssh_server"),
    _Named("firewall"),
    _Named("network", "wireguard"),
    _Named("units"),
    _Named("timers"),
    _Named("cron"),
    _Named("timezone"),
    _Named("locale"),
    _Named("kernel_modules"),
    _Named("certificate_authorities"),
    _Named("repositories"),
    _Named("sudoers"),
    _Named("unattended_upgrades"),
    _Named("container_engine"),
    _Named("node_exporter"),
)
