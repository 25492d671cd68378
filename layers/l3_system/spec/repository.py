"""``repositories``: where packages come from besides the distribution."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lab.model.files import File, LabFile
from layers.l3_system.spec.types import Declared, Path, Word

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_URI = re.compile(r"(https?://[^/\s]+\S*|file:/\S*|mirror\+https?://\S+|tor\+https?://\S+)")
_ARCHITECTURE = re.compile(r"[a-z0-9-]+")
_ARMOR = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_PUBLIC_KEY, _SECRET_KEY = 6, 5  # packet tags of OpenPGP (RFC 9580, section 5)


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a repository's name: letters, digits, _ and -")
    return value


def _uri(value: str) -> str:
    if not _URI.fullmatch(value):
        raise ValueError(f"{value!r} is not a repository's address: http:, https: or file:")
    if "@" in value.partition("://")[2].partition("/")[0]:
        raise ValueError("a password has no place in an address: everybody on the host reads it")
    return value


def _architecture(value: str) -> str:
    if not _ARCHITECTURE.fullmatch(value):
        raise ValueError(f"{value!r} is not an architecture: write it like amd64")
    return value


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def is_armored(key: bytes) -> bool:
    """Whether a key is text (``.asc``) rather than binary (``.gpg``)."""
    return key.lstrip().startswith(b"-----BEGIN PGP")


def _first_packet(key: bytes) -> int:
    """The tag of the first OpenPGP packet; 0 where there is none."""
    if not key or not key[0] & 0x80:
        return 0
    return key[0] & 0x3F if key[0] & 0x40 else key[0] >> 2 & 0xF


def _public_key(key: LabFile) -> LabFile:
    if b"PRIVATE KEY" in key.content or _first_packet(key.content) == _SECRET_KEY:
        raise ValueError(f"{key.path} is a private key: export the public one")
    armored = key.content.lstrip().startswith(_ARMOR)
    # without a context (read back from the ledger) a file has no content
    if key.content and not armored and _first_packet(key.content) != _PUBLIC_KEY:
        raise ValueError(f"{key.path} is not an OpenPGP key: gpg --export --armor writes one")
    return key


Words = Annotated[tuple[Word, ...], BeforeValidator(_one_or_more)]


class Repository(Declared):
    """A source of packages; what it offers must be signed by its key."""

    uris: Annotated[tuple[Annotated[str, AfterValidator(_uri)], ...], BeforeValidator(_one_or_more)]
    suites: Words = Field(description="trixie; or an exact path that ends in /")
    components: Words = ()
    architectures: tuple[Annotated[str, AfterValidator(_architecture)], ...] = ()
    types: tuple[Literal["deb", "deb-src"], ...] = ("deb",)
    key: Annotated[File, AfterValidator(_public_key)] | None = Field(
        default=None, description="a file of the lab with its public key, armored or binary"
    )
    keyring: Path | None = Field(default=None, description="a keyring that the host has already")
    signed: bool = Field(default=True, description="false: believed without any signature")

    @model_validator(mode="after")
    def _sense(self) -> Self:
        for field in ("uris", "suites", "types"):
            if not getattr(self, field):
                raise ValueError(f"{field} are missing")
        exact = [s for s in self.suites if s.endswith("/")]
        if exact and (self.components or len(exact) < len(self.suites)):
            raise ValueError(f"{exact[0]} is an exact path: it goes without components")
        if not exact and not self.components:
            raise ValueError("components are missing: most repositories have main or stable")
        if self.key is not None and self.keyring is not None:
            raise ValueError("give either key or keyring")
        if not self.signed and (self.key is not None or self.keyring is not None):
            raise ValueError("signed: false goes without a key")
        return self


RepositoryName = Annotated[str, AfterValidator(_name)]
