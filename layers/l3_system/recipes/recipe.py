"""What all recipes share: their shape, and adding up what they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from layers.l3_system.spec import System


class Recipe(Protocol):
    """A module of this package."""

    @property
    def NAME(self) -> str:  # noqa: N802 (a module's constant)
        """The key of ``system`` that it reads."""

    def expand(self, system: System) -> Mapping[str, Any]:
        """Further sections, as in YAML; empty where its key is not used."""


class Clash(ValueError):  # noqa: N818 (told to users, not an error of the program)
    """A recipe makes what is declared besides, or two recipes make the same."""

    def __init__(self, section: str, key: str, makers: tuple[str, str]) -> None:
        super().__init__(f"{key} under {section} is made by {makers[0]} already")
        self.section, self.key, self.makers = section, key, makers


def expanded(system: System, recipes: tuple[Recipe, ...]) -> dict[str, Any]:
    """Every section of ``system`` with what the recipes add, to be validated as a Spec.

    Raises Clash where a mapping's key would be written twice. Lists (packages) may repeat.
    """
    sections = {name: getattr(system, name) for name in type(system).model_fields}
    maker: dict[tuple[str, str], str] = {}
    for recipe in recipes:
        for section, more in recipe.expand(system).items():
            if not isinstance(more, Mapping):
                sections[section] = (*sections[section], *more)
                continue
            there = dict(sections[section])
            for key in more:
                if key in there:
                    raise Clash(section, key, (recipe.NAME, maker.get((section, key), "")))
                maker[section, key] = recipe.NAME
            sections[section] = {**there, **more}
    return sections
