"""What all recipes share: their shape, and adding up what they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from layers.l3_system.spec import Spec, System
from layers.l3_system.spec.package import Package, Packages


@cache
def _packages() -> TypeAdapter[dict[str, Package]]:
    return TypeAdapter(Packages)


class Recipe(Protocol):
    """A module of this package."""

    @property
    def NAME(self) -> str:  # noqa: N802 (a module's constant)
        """The key of ``system`` that it reads."""

    def expand(self, system: System) -> Mapping[str, Any]:
        """Further sections, as in YAML; empty where its key is not used."""


@dataclass(frozen=True, slots=True)
class Clash:
    """A recipe makes what is declared besides, or what another recipe makes.

    ``path`` leads to it within ``system``.
    """

    path: tuple[str, ...]
    why: str


def specified(system: System, recipes: Sequence[Recipe], **more: Any) -> Spec:
    """Everything that is declared and what the recipes make of it.

    Raises ValidationError with every clash; its places are those of a document.
    """
    sections, clashes = expanded(system, recipes)
    if clashes:
        raise ValidationError.from_exception_data(
            "system",
            [
                InitErrorDetails(
                    type=PydanticCustomError("value_error", "{why}", {"why": clash.why}),
                    loc=("system", *clash.path),
                    input=None,
                )
                for clash in clashes
            ],
        )
    return Spec(**sections, **more)


def expanded(system: System, recipes: Sequence[Recipe]) -> tuple[dict[str, Any], list[Clash]]:
    """Every section of ``system`` with what the recipes add, and what does not fit together.

    Packages may repeat as long as their demands agree.
    """
    sections = {name: getattr(system, name) for name in type(system).model_fields}
    clashes: list[Clash] = []
    makers: dict[tuple[str, str], str] = {}
    for recipe in recipes:
        for section, added in recipe.expand(system).items():
            add = _packages().validate_python(added) if section == "packages" else added
            there = dict(sections[section])
            for key, value in add.items():
                other = makers.get((section, key))
                if key not in there:
                    there[key], makers[section, key] = value, recipe.NAME
                elif isinstance(value, Package) and (both := value.joined(there[key])):
                    there[key] = both
                else:
                    path = (section, key) if other is None else (recipe.NAME,)
                    clashes.append(Clash(path, _why(recipe.NAME, section, key, value, other)))
            sections[section] = there
    return sections, clashes


def _why(maker: str, section: str, key: str, value: Any, other: str | None) -> str:
    if isinstance(value, Package):
        return f"{maker} needs {key} {value}, which contradicts what else is demanded of it"
    besides = "it cannot be declared here too" if other is None else f"{other} makes it too"
    return f"{maker} makes {key} under {section}: {besides}"


def made_by(system: System, recipes: Sequence[Recipe]) -> dict[tuple[str, str], str]:
    """Section and key of everything that recipes make, to the key of ``system`` they read."""
    return {
        (section, key): recipe.NAME
        for recipe in recipes
        for section, added in recipe.expand(system).items()
        for key in added
    }
