"""Values that are made: passwords, random bytes, keys, and the hash of a password."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field

from lab.errors import LabError
from lab.secrets import age, keys, passwords

KINDS = ("password", "hex", "base64", "ssh-key", "wireguard", "age", "password-hash")
HASHES = ("sha512", "yescrypt")
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"  # none that look alike
_DEFAULT = {"password": 24, "hex": 32, "base64": 32}
_LIMITS = (8, 4096)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a value is made; kept with it, so that rotating makes the same kind again.

    Attributes:
        kind: One of KINDS.
        length: Characters of a password, random bytes of hex and base64; 0: the usual.
        of: For a hash: the secret that holds the password; ``""``: it is given.
        hash: One of HASHES.
    """

    kind: str = "password"
    length: int = 0
    of: str = ""
    hash: str = "sha512"

    @property
    def note(self) -> str:
        """As it is kept."""
        words = [self.kind]
        words += [f"length={self.length}"] if self.length else []
        words += [f"of={self.of}"] if self.of else []
        words += [f"hash={self.hash}"] if self.kind == "password-hash" else []
        return " ".join(words)

    @classmethod
    def read(cls, note: str) -> Recipe | None:
        """Of a note; ``None`` where it is none of ours."""
        kind, *rest = note.split() or [""]
        said = dict(word.partition("=")[::2] for word in rest)
        if kind not in KINDS or said.get("hash", "sha512") not in HASHES:
            return None
        length = said.get("length", "")
        return cls(
            kind, int(length) if length.isdecimal() else 0, said.get("of", ""),
            said.get("hash", "sha512"),
        )  # fmt: skip

    def check(self) -> None:
        """Raise LabError for a length that makes no sense."""
        low, high = _LIMITS
        if self.length and self.kind not in _DEFAULT:
            raise LabError(f"Unable to make it: a {self.kind} has a length of its own.")
        if self.length and not low <= self.length <= high:
            raise LabError(f"Unable to make it: a length of {low} to {high} is expected.")


@dataclass(frozen=True, slots=True)
class Made:
    """A value, and the public half of a key where it is one."""

    value: str = field(repr=False)
    public: str = ""


def make(recipe: Recipe, comment: str = "", password: str = "") -> Made:
    """A fresh value; ``comment`` is the ssh key's, ``password`` the one that is hashed."""
    recipe.check()
    length = recipe.length or _DEFAULT.get(recipe.kind, 0)
    match recipe.kind:
        case "password":
            return Made("".join(secrets.choice(_LETTERS) for _ in range(length)))
        case "hex":
            return Made(secrets.token_hex(length))
        case "base64":
            return Made(base64.b64encode(secrets.token_bytes(length)).decode())
        case "ssh-key":
            return Made(*keys.ssh(comment))
        case "wireguard":
            return Made(*keys.wireguard())
        case "age":
            pair = age.new_key()
            return Made(pair.private, pair.public)
        case _:
            return Made(passwords.hashed(password, recipe.hash))
