"""Which units of systemd are read from a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from layers.l3_system.spec.types import UNIT_FOLDER, UNIT_TYPES

if TYPE_CHECKING:
    from layers.l3_system.spec import Spec


def file_kinds(spec: Spec) -> dict[str, str]:
    """Every declared path at which a file is, and its kind."""
    edits: Iterable[str] = (*spec.lines, *spec.blocks)
    return {
        **dict.fromkeys(spec.files, "file"),
        **dict.fromkeys(spec.links, "link"),
        **dict.fromkeys(edits, "edit"),
    }


def unit_of(path: str) -> str | None:
    """``x.service`` for its own file and for ``x.service.d/y.conf``, else ``None``."""
    folder, _, name = path.removeprefix(UNIT_FOLDER).rpartition("/")
    unit = folder.removesuffix(".d") if folder else name
    if not path.startswith(UNIT_FOLDER) or not unit.endswith(UNIT_TYPES):
        return None
    if folder and not (folder.endswith(".d") and name.endswith(".conf") and "/" not in folder):
        return None
    return unit


def reads(unit: str, path: str) -> bool:
    """Whether the unit is read from that file; ``x@1.service`` is also from ``x@.service``."""
    own, at, rest = unit.partition("@")
    template = f"{own}@.{rest.rpartition('.')[2]}" if at else unit
    return unit_of(path) in {unit, template}
