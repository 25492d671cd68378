"""age: keys, and a few bytes encrypted for some of them. The only module that knows pyrage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from lab.errors import LabError
from lab.secrets.sops.cipher import PIP

_KEY = re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]+", re.IGNORECASE)
_MAX_WRAPPED = 64 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key that opens files; ``recipient`` is its public half, ``""`` for ssh keys."""

    where: str
    recipient: str
    key: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A new key: ``AGE-SECRET-KEY-1…`` and ``age1…``."""

    private: str = field(repr=False)
    public: str


def _pyrage() -> ModuleType:
    try:
        import pyrage  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise LabError(
            "Unable to use age keys: the library pyrage is not installed.", hint=PIP
        ) from error
    module: ModuleType = pyrage
    return module


def new_key() -> KeyPair:
    """A fresh X25519 key."""
    made = _pyrage().x25519.Identity.generate()
    return KeyPair(str(made), str(made.to_public()))


def identities(text: str, where: str) -> list[Identity]:
    """The age keys in a text (comments and other lines between them), told as found ``where``.

    Raises LabError for one that is no key.
    """
    pyrage = _pyrage()
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        for word in line.split():
            try:
                key = pyrage.x25519.Identity.from_str(word)
            except pyrage.IdentityError:
                kind = " (of a plugin, or post-quantum)" if word.startswith("AGE-") else ""
                raise LabError(
                    f"Unable to use line {number} of {where}: it is not an age key that is"
                    f" supported here{kind}.",
                    hint="an age key reads AGE-SECRET-KEY-1…; make one: lab secrets init",
                ) from None
            found.append(Identity(where, str(key.to_public()), key))
    return found


def ssh_identity(raw: bytes, where: str) -> Identity | None:
    """The identity of an ssh private key, ``None`` where it has a passphrase or another type."""
    pyrage = _pyrage()
    try:
        return Identity(where, "", pyrage.ssh.Identity.from_buffer(raw))
    except (pyrage.IdentityError, ValueError):
        return None


def is_recipient(word: str) -> bool:
    """Whether it is a public key that files can be encrypted for here."""
    try:
        _recipient(word)
    except LabError:
        return False
    return True


def _recipient(word: str) -> Any:
    pyrage = _pyrage()
    kind = pyrage.ssh.Recipient if word.startswith("ssh-") else pyrage.x25519.Recipient
    try:
        return kind.from_str(word)
    except pyrage.RecipientError:
        raise LabError(
            f"Unable to encrypt for {word[:80]!r}: it is not a public key that is supported here.",
            hint="a public key reads age1… (or ssh-ed25519 AAAA…)",
        ) from None


def wrap(data: bytes, recipient: str) -> str:
    """The bytes encrypted for one public key, armored."""
    armored: bytes = _pyrage().encrypt(data, [_recipient(recipient)], armored=True)
    return armored.decode()


def unwrap(armored: str, keys: Sequence[Identity]) -> bytes | None:
    """What :func:`wrap` was given; ``None`` where no key fits, or it is damaged."""
    pyrage = _pyrage()
    if len(armored) > _MAX_WRAPPED or not keys:
        return None
    try:
        opened: bytes = pyrage.decrypt(armored.encode(), [k.key for k in keys])
    except (pyrage.DecryptError, ValueError):
        return None
    return opened


def private_keys(text: str) -> list[str]:
    """Every age private key that stands in a text."""
    return _KEY.findall(text)
