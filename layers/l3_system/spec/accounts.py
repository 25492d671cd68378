"""``users`` and ``groups``."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from lab.model.files import File, LabFile
from layers.l3_system.spec.types import Account, Declared, Path, empty_for_null, plain


class User(Declared):
    """A user. What is left out is the system's default for a new one, and kept for an old one.

    Groups and keys that somebody else gave the user are left alone.
    """

    uid: int | None = Field(default=None, ge=0, lt=2**32 - 1)
    comment: Annotated[str, AfterValidator(plain)] | None = None
    home: Path | None = None
    shell: Path | None = None
    groups: tuple[Account, ...] = Field(default=(), description="besides the user's own")
    authorized_keys: tuple[File, ...] = Field(default=(), description="files of public keys")

    @field_validator("authorized_keys")
    @classmethod
    def _public(cls, keys: tuple[LabFile, ...]) -> tuple[LabFile, ...]:
        for key in keys:
            if b"PRIVATE KEY" in key.content:
                raise ValueError(f"{key.path} is a private key: name the .pub file beside it")
        return keys


class Group(Declared):
    """A group."""

    gid: int | None = Field(default=None, ge=0, lt=2**32 - 1)


class Accounts(Declared):
    """The keys of ``system`` about who is known to the host."""

    users: dict[Account, User] = {}
    groups: dict[Account, Annotated[Group, BeforeValidator(empty_for_null)]] = {}
