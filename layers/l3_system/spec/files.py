"""``files``, ``directories``, ``links``, ``absent``, ``lines`` and ``blocks``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from lab.model.files import File
from lab.model.secret import TextOrSecret
from layers.l3_system.spec.types import (
    Account,
    Declared,
    Mode,
    Part,
    Path,
    empty_for_null,
    no_duplicates,
    shape,
)

MARKER = re.compile(r"^\S+ (?:BEGIN|END) strata \S+$", re.MULTILINE)
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


def _edit_name(value: str) -> str:
    if not _NAME.match(value):
        raise ValueError(f"{value!r} is not a name: letters, digits, dots, _ and -")
    return value


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"{value!r} is not a regular expression: {error}") from error
    return value


def _one_line(value: Any) -> Any:
    if isinstance(value, str) and ("\n" in value or "\r" in value or "\0" in value):
        raise ValueError("this is more than one line: take blocks for that")
    if isinstance(value, str) and MARKER.match(value):
        raise ValueError("this is the mark of a block: take blocks for that")
    return value


def _checked(value: str) -> str:
    if "%s" not in value:
        raise ValueError("write %s where the path of the new file goes: nginx -t -c %s")
    if "\n" in value or "\0" in value:
        raise ValueError("a command is one line")
    return value


def _comment(value: str) -> str:
    if not value or not value.isprintable() or " " in value:
        raise ValueError(f"{value!r} is not what a comment begins with: write it like # or //")
    return value


EditName = Annotated[str, AfterValidator(_edit_name)]
Regex = Annotated[str, AfterValidator(_regex)]
Check = Annotated[str, AfterValidator(_checked)]


class Origin(Declared):
    """Content: it stands here, or in a file of the lab, as it is or as a template."""

    content: TextOrSecret | None = None
    template: File | None = Field(default=None, description="a Jinja2 template of the lab")
    source: File | None = Field(default=None, description="a file of the lab, taken as it is")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [n for n in ("content", "template", "source") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of content, template and source")
        return self


class FileSpec(Origin):
    """A file."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    mode: Mode = "0644"
    owner: Account = "root"
    group: Account = "root"
    validate_with: Check | None = Field(
        default=None,
        alias="validate",
        description="a command that the new file (%s) must pass before it takes its place",
    )


class Directory(Declared):
    """A directory; what lies in it is left alone."""

    mode: Mode = "0755"
    owner: Account = "root"
    group: Account = "root"


def _target(value: str) -> str:
    if not value or any(ord(c) < 32 or c == "\x7f" for c in value):  # noqa: PLR2004
        raise ValueError(f"{value!r} is nothing that a link can lead to")
    return value


class Link(Declared):
    """A symbolic link; ``/path: /target`` is short for ``/path: {target: /target}``."""

    target: Annotated[str, AfterValidator(_target)]
    exists: bool = Field(default=False, description="refuse to make it lead nowhere")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"target": value} if isinstance(value, str) else value


class Absent(Declared):
    """Something that must not be there."""

    recursive: bool = Field(default=False, description="a directory with all that is in it")


class Position(Declared):
    """Where something new goes in a file; the end of it where neither matches."""

    after: Regex | None = Field(default=None, description="behind the last line that matches")
    before: Regex | None = Field(default=None, description="before the first line that matches")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.after is not None and self.before is not None:
            raise ValueError("give after or before, not both")
        return self


class Line(Position):
    """One line of a file. ``name: text`` is short for ``name: {line: text}``."""

    line: Annotated[TextOrSecret, AfterValidator(_one_line)] | None = None
    match: Regex | None = Field(
        default=None, description="it takes the place of the lines that match"
    )
    state: Literal["present", "absent"] = "present"

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {"line": value}

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.state == "present" and self.line is None:
            raise ValueError("'line' is missing")
        if self.state == "absent" and (self.line is None) == (self.match is None):
            raise ValueError("an absent line is named by line or by match, by one of them")
        return self


class Block(Origin, Position):
    """Some lines of a file between two marks."""

    comment: Annotated[str, AfterValidator(_comment)] = Field(
        default="#", description="what a comment of this file begins with"
    )


AbsentPaths = Annotated[
    Annotated[tuple[Path, ...], AfterValidator(no_duplicates), Tag("list")]
    | Annotated[dict[Path, Annotated[Absent, BeforeValidator(empty_for_null)]], Tag("mapping")],
    Discriminator(shape),
]


class Files(Part):
    """The keys of ``system`` about what lies in the file tree."""

    files: dict[Path, FileSpec] = {}
    directories: dict[Path, Annotated[Directory, BeforeValidator(empty_for_null)]] = {}
    links: dict[Path, Link] = {}
    absent: AbsentPaths = ()
    lines: dict[Path, dict[EditName, Line]] = {}
    blocks: dict[Path, dict[EditName, Block]] = {}

    @property
    def absences(self) -> dict[str, Absent]:
        """``absent`` as a mapping, however it was written."""
        if isinstance(self.absent, dict):
            return self.absent
        return {path: Absent() for path in self.absent}
