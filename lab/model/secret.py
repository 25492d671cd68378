"""Secrets as the model holds them: a name, and a way to the value that is taken only when needed.

``!secret name`` in a lab file becomes a :class:`Secret`. Loading a lab never decrypts anything; the
value exists from the first :meth:`Secret.reveal` on, in memory only. Whatever prints, dumps or
pickles a secret gets its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, NoReturn, Protocol

from pydantic import (
    BeforeValidator,
    InstanceOf,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)

from lab.errors import LabError


@dataclass(frozen=True, slots=True)
class SecretName:
    """``!secret name`` as the YAML reader leaves it."""

    name: str


class Secrets(Protocol):
    """What loading the lab puts into the validation context, under the key ``"secrets"``."""

    def reveal(self, name: str) -> str:
        """The value. Raises LabError where there is none, or it cannot be decrypted here."""
        ...


class NoSecrets:
    """A lab without any."""

    def reveal(self, name: str) -> NoReturn:
        """Say so."""
        raise LabError(
            f"Unable to use the secret {name}: this lab has no secrets yet.",
            hint="lab secrets init",
        )


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret by its name; equal to another one of the same name."""

    name: str
    _secrets: Secrets = field(default_factory=NoSecrets, compare=False, repr=False)

    def reveal(self) -> str:
        """The value, decrypted now if it was not before. Raises LabError."""
        return self._secrets.reveal(self.name)

    def __str__(self) -> str:
        return f"(secret {self.name})"

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self.name,)


def named(value: Any, info: ValidationInfo) -> Any:
    """A :class:`Secret` of a :class:`SecretName`; anything else as it is."""
    if not isinstance(value, SecretName):
        return value
    return Secret(value.name, (info.context or {}).get("secrets") or NoSecrets())


def _only(value: Any, info: ValidationInfo) -> Secret:
    secret = named(value, info)
    if not isinstance(secret, Secret):
        raise ValueError("this is a secret: write !secret and its name, never the value itself")  # noqa: TRY004
    return secret


SecretText = Annotated[
    InstanceOf[Secret],
    BeforeValidator(_only),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "description": "!secret and a name"}),
]
"""A field that must be a secret: ``password_hash: !secret ops_password``."""
