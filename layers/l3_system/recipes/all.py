"""All recipes."""

from __future__ import annotations

from layers.l3_system.recipes import cron, firewall, network, ssh_server, timers, units
from layers.l3_system.recipes.recipe import Recipe

RECIPES: tuple[Recipe, ...] = (
    ssh_server,
    firewall,
    network,
    units,
    timers,
    cron,
)
