"""All recipes."""

from __future__ import annotations

from layers.l3_system.recipes import firewall, network, ssh_server
from layers.l3_system.recipes.recipe import Recipe

RECIPES: tuple[Recipe, ...] = (
    ssh_server,
    firewall,
    network,
)
