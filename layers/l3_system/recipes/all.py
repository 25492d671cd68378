"""All recipes."""

from __future__ import annotations

from layers.l3_system.recipes import (
    cron,
    firewall,
    kernel_modules,
    locale,
    network,
    ssh_server,
    timers,
    timezone,
    units,
)
from layers.l3_system.recipes.recipe import Recipe

RECIPES: tuple[Recipe, ...] = (
    ssh_server,
    firewall,
    network,
    units,
    timers,
    cron,
    timezone,
    locale,
    kernel_modules,
)
