"""Secrets as the model holds them: a name, and a way to the value that is taken only when needed.

``!secret name`` in a lab file becomes a :class:`Secret`. Loading a lab never decrypts anything; the
value exists from the first :meth:`Secret.reveal` on, in memory only. Whatever prints, dumps or
pickles a secret gets its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn, Protocol

from pydantic import (
    AfterValidator,
    BeforeValidator,
    GetCoreSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from lab.errors import LabError, Problem

_RECORDED = re.compile(r"^\(secret ([^()]+)\)$")
_INIT = "lab secrets init"


@dataclass(frozen=True, slots=True)
class SecretName:
    """``!secret name`` as the YAML reader leaves it."""

    name: str

    def __str__(self) -> str:
        return f"(secret {self.name})"


class Secrets(Protocol):
    """What loading the lab puts into the validation context, under the key ``"secrets"``."""

    def reveal(self, name: str) -> str:
        """The value. Raises LabError where there is none, or it cannot be decrypted here."""
        ...

    def fingerprint(self, name: str) -> str:
        """Changes when the value does, and tells nothing of it; needs no key. ``""``: no value."""
        ...

    def problem(self, name: str) -> str | None:
        """Why the name cannot be used, for the place where it stands; needs no key."""
        ...

    def problems(self) -> Sequence[Problem]:
        """What is wrong with the secrets' own files, as far as they were looked at."""
        ...


class NoSecrets:
    """A lab without any."""

    def reveal(self, name: str) -> NoReturn:
        """Say so."""
        raise LabError(f"Unable to use the secret {name}: this lab has no secrets yet.", hint=_INIT)

    def fingerprint(self, name: str) -> str:  # noqa: ARG002 (the protocol's)
        """Nothing to tell apart."""
        return ""

    def problem(self, name: str) -> str | None:
        """Every name is one too many."""
        return f"there is no secret {name!r}, this lab has none yet; try: {_INIT}"

    def problems(self) -> Sequence[Problem]:
        """No files, no mistakes."""
        return ()


class Secret:
    """A secret by its name; equal to another one of the same name.

    As the type of a pydantic field it takes ``!secret name`` and nothing else. It is no dataclass,
    so that nothing takes it apart.
    """

    __slots__ = ("_secrets", "name")

    def __init__(self, name: str, secrets: Secrets | None = None) -> None:
        self.name = name
        self._secrets = secrets or NoSecrets()

    def reveal(self) -> str:
        """The value, decrypted now if it was not before. Raises LabError."""
        return self._secrets.reveal(self.name)

    @property
    def fingerprint(self) -> str:
        """Changes when the value does, and tells nothing of it."""
        return self._secrets.fingerprint(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return f"(secret {self.name})"

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self.name,)

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic validates and writes a field of this type."""
        return core_schema.with_info_before_validator_function(
            _only,
            core_schema.is_instance_schema(cls),
            serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="json"),
        )


def named(value: Any, info: ValidationInfo) -> Any:
    """A :class:`Secret` of a :class:`SecretName`; anything else as it is.

    What does not come from a lab's file comes from the ledger, which holds secrets as
    ``"(secret name)"``.
    """
    context = info.context or {}
    if isinstance(value, str) and "reader" not in context:
        recorded = _RECORDED.match(value)
        value = SecretName(recorded[1]) if recorded else value
    return Secret(value.name, context.get("secrets")) if isinstance(value, SecretName) else value


def _only(value: Any, info: ValidationInfo) -> Secret:
    secret = named(value, info)
    if not isinstance(secret, Secret):
        raise ValueError("this is a secret: write !secret and its name, never the value itself")  # noqa: TRY004
    return secret


SecretText = Annotated[
    Secret, WithJsonSchema({"type": "string", "description": "!secret and a name"})
]
"""A field that must be a secret: ``password_hash: !secret ops_password``."""

TextOrSecret = Annotated[
    str | Secret,
    BeforeValidator(named),
    WithJsonSchema({"type": "string", "description": "text, or !secret and a name"}),
]
"""A field that may be one: ``content: !secret wifi_config``."""


def with_secrets(value: Any, info: ValidationInfo) -> Any:
    """Free values (``vars``) with every :class:`SecretName` in them made a :class:`Secret`."""
    if isinstance(value, dict):
        return {k: with_secrets(v, info) for k, v in value.items()}
    if isinstance(value, list):
        return [with_secrets(v, info) for v in value]
    return named(value, info)


Vars = Annotated[dict[str, Any], AfterValidator(with_secrets)]
"""Free values; secrets may stand anywhere in them."""


def secrets_in(value: Any) -> Iterator[Secret]:
    """Every secret in free values."""
    if isinstance(value, dict):
        for item in value.values():
            yield from secrets_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from secrets_in(item)
    elif isinstance(value, Secret):
        yield value
