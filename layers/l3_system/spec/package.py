"""One entry of ``packages``: a name, or a name and what is demanded of it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from layers.l3_system.spec.types import Declared, PackageName

_VERSION = re.compile(r"[A-Za-z0-9.+~:*?-]+")


class Package(Declared):
    """What is demanded of a package; nothing said = it is there, in any version."""

    state: Literal["installed", "absent"] = "installed"
    version: str | None = Field(default=None, description="exact, or with * and ?: 1.26*")
    hold: bool | None = Field(default=None, description="kept at its version by the host's tools")
    purge: bool = Field(default=False, description="absent with its configuration (destroys it)")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if value is None:
            return {}
        if not isinstance(value, str):
            return value
        if value not in {"installed", "absent"}:
            raise ValueError(
                f"{value!r} is no demand: write absent, or a mapping with version, hold or state"
            )
        return {"state": value}

    @model_validator(mode="after")
    def _sense(self) -> Self:
        if self.version is not None and not _VERSION.fullmatch(self.version):
            raise ValueError(f"{self.version!r} is not a version: write it like 1.26.3-3 or 1.26*")
        if self.state == "absent" and (self.version or self.hold):
            raise ValueError("what is absent has no version and is not held")
        if self.state != "absent" and self.purge:
            raise ValueError("purge goes with state: absent")
        return self

    @property
    def absent(self) -> bool:
        """Whether it must not be there."""
        return self.state == "absent"

    def joined(self, other: Package) -> Package | None:
        """Both demands in one; ``None`` where no package can meet both."""
        both: dict[str, Any] = {}
        for field in ("version", "hold"):
            mine, theirs = getattr(self, field), getattr(other, field)
            if mine is not None and theirs is not None and mine != theirs:
                return None
            both[field] = theirs if mine is None else mine
        if self.state != other.state:
            return None
        return Package(state=self.state, purge=self.purge or other.purge, **both)

    def __str__(self) -> str:
        """In a few words."""
        said = {"version": self.version, "hold": self.hold, "purge": self.purge or None}
        words = [f"{k} {v}".lower() for k, v in said.items() if v is not None]
        return ", ".join([self.state, *words])


def _entry(value: Any) -> Any:
    return {value: {}} if isinstance(value, str) else value


Entry = Annotated[
    dict[PackageName, Package],
    BeforeValidator(
        _entry,
        json_schema_input_type=str | dict[str, Package | Literal["installed", "absent"] | None],
    ),
]
_ENTRIES = TypeAdapter(tuple[Entry, ...])


def _by_name(value: Any, info: ValidationInfo) -> dict[str, Package]:
    """A name once, whoever declared it how often; demands that contradict are mistakes."""
    if isinstance(value, dict) and all(isinstance(v, Package) for v in value.values()):
        return value  # validated before
    demands: dict[str, Package] = {}
    mistakes: list[InitErrorDetails] = []
    for index, entry in enumerate(_ENTRIES.validate_python(value, context=info.context)):
        for name, package in entry.items():
            there = demands.get(name, package)
            both = package.joined(there)
            if both is None:
                said = f"{name} is demanded as {there} already, which contradicts: {package}"
                error = PydanticCustomError("value_error", "{said}", {"said": said})
                mistakes.append(InitErrorDetails(type=error, loc=(index,), input=name))
            else:
                demands[name] = both
    if mistakes:
        raise ValidationError.from_exception_data("packages", mistakes)
    return demands


Packages = Annotated[
    dict[PackageName, Package],
    PlainValidator(_by_name, json_schema_input_type=list[Entry]),
    PlainSerializer(
        lambda p: [{name: demand.model_dump()} for name, demand in p.items()],
        return_type=list[Any],
        when_used="json",
    ),
]
"""Written as a list; held by name, in the order of declaring."""
