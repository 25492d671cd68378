"""All recipes."""

from __future__ import annotations

from layers.l3_system.recipes import (
    certificate_authorities,
    container_engine,
    firewall,
    network,
    node_exporter,
    repositories,
    ssh_server,
    sudoers,
    unattended_upgrades,
)
from layers.l3_system.recipes.recipe import Recipe

RECIPES: tuple[Recipe, ...] = (
    certificate_authorities,
    repositories,
    sudoers,
    unattended_upgrades,
    container_engine,
    node_exporter,
    ssh_server,
    firewall,
    network,
)
