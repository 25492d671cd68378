"""All recipes."""

from __future__ import annotations

from layers.l3_system.recipes import (
    certificate_authorities,
    container_engine,
    cron,
    firewall,
    kernel_modules,
    locale,
    network,
    node_exporter,
    repositories,
    ssh_server,
    sudoers,
    timers,
    timezone,
    unattended_upgrades,
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
    certificate_authorities,
    repositories,
    sudoers,
    unattended_upgrades,
    container_engine,
    node_exporter,
)
