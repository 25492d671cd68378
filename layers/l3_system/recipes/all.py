"""All recipes."""

from __future__ import annotations

from layers.l3_system.recipes.recipe import Recipe

RECIPES: tuple[Recipe, ...] = ()
