"""``files`` and ``directories``."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from lab.model.files import File
from layers.l3_system.spec.types import Account, Declared, Mode, Path, empty_for_null


class FileSpec(Declared):
    """A file: its content stands here, or in a file of the lab, as it is or as a template."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    content: str | None = None
    template: File | None = Field(default=None, description="a Jinja2 template of the lab")
    source: File | None = Field(default=None, description="a file of the lab, taken as it is")
    mode: Mode = "0644"
    owner: Account = "root"
    group: Account = "root"
    validate_with: str | None = Field(
        default=None,
        alias="validate",
        description="a command that the new file (%s) must pass before it takes its place",
    )

    @field_validator("validate_with")
    @classmethod
    def _has_a_place(cls, command: str | None) -> str | None:
        if command is not None and "%s" not in command:
            raise ValueError("write %s where the path of the new file goes: nginx -t -c %s")
        return command

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [n for n in ("content", "template", "source") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of content, template and source")
        return self


class Directory(Declared):
    """A directory; what lies in it is left alone."""

    mode: Mode = "0755"
    owner: Account = "root"
    group: Account = "root"


class Files(Declared):
    """The keys of ``system`` about what lies in the file tree."""

    files: dict[Path, FileSpec] = {}
    directories: dict[Path, Annotated[Directory, BeforeValidator(empty_for_null)]] = {}
