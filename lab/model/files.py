"""Files of the lab that its YAML names: found and read once, when the lab is loaded.

Loading the lab puts a :class:`Reader` into pydantic's validation context, so that a spec can hold
a file's content without doing any I/O itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema


@dataclass(frozen=True, slots=True)
class LabFile:
    """One file: its path relative to the lab's root, and its content."""

    path: str
    content: bytes
    executable: bool = False

    @property
    def sha256(self) -> str:
        """Hex digest of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def text(self) -> str:
        """The content as UTF-8; raises UnicodeDecodeError (a ValueError) where it is not text."""
        return self.content.decode()


@dataclass(frozen=True, slots=True)
class LabTree:
    """A folder: the files in it by their path relative to it, sorted."""

    path: str
    files: tuple[LabFile, ...]

    def get(self, name: str) -> LabFile | None:
        """The file of that relative path, or ``None``."""
        prefix = f"{self.path}/{name}"
        return next((f for f in self.files if f.path == prefix), None)

    def names(self) -> tuple[str, ...]:
        """Paths relative to the folder, in the order of ``files``."""
        return tuple(f.path[len(self.path) + 1 :] for f in self.files)


class Reader(Protocol):
    """What loading the lab puts into the validation context, under the key ``"reader"``.

    ``value`` is the YAML string itself: the reader knows from it which file it was written in, and
    looks beside that file (``personas/web.yaml`` names files in ``personas/web/``). Both raise
    ValueError in plain words.
    """

    def file(self, value: str) -> LabFile:
        """The file."""
        ...

    def tree_of(self, value: str) -> tuple[LabFile, LabTree]:
        """The file, and the folder it stands in with all its files."""
        ...

    def folder(self, value: str, within: str, elsewhere: tuple[str, ...] = ()) -> LabTree:
        """The folder ``within/value`` beside that file or in the lab, with all its files.

        Otherwise the one of that name in a folder ``elsewhere`` on this machine (``~`` is the
        home): its path is absolute then, and its files are not read.
        """
        ...


def _read(value: Any, info: ValidationInfo) -> LabFile:
    if isinstance(value, LabFile):
        return value
    if not isinstance(value, str):
        raise ValueError("the name of a file is a string")  # noqa: TRY004 (pydantic wants ValueError)
    reader: Reader | None = (info.context or {}).get("reader")
    return LabFile(path=str(value), content=b"") if reader is None else reader.file(value)


File = Annotated[
    LabFile,
    BeforeValidator(_read),
    PlainSerializer(lambda f: f.path, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "description": "a file beside the persona that names it"}),
]
"""A field that names a file of the lab and holds its content."""


@dataclass(frozen=True, slots=True)
class LabProject:
    """One file and the whole folder that it stands in (a Compose file and what it refers to)."""

    main: LabFile
    tree: LabTree


def _read_tree(value: Any, info: ValidationInfo) -> LabProject:
    if isinstance(value, LabProject):
        return value
    if not isinstance(value, str):
        raise ValueError("the name of a file is a string")  # noqa: TRY004
    reader: Reader | None = (info.context or {}).get("reader")
    if reader is None:
        return LabProject(LabFile(str(value), b""), LabTree("", ()))
    return LabProject(*reader.tree_of(value))


Project = Annotated[
    LabProject,
    BeforeValidator(_read_tree),
    PlainSerializer(lambda p: p.main.path, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "description": "a file whose whole folder belongs to it"}),
]
"""A field that names a file of the lab and holds it with all its neighbours."""
