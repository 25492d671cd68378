"""One value: ``ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]``. The only module that knows AES."""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.errors import LabError
from lab.secrets.sops.scalars import INT_MAX, INT_MIN, as_bytes
from lab.secrets.sops.tree import Comment, Timestamp

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_B64 = "([A-Za-z0-9+/=]+)"
_TEXT = re.compile(rf"^ENC\[AES256_GCM,data:{_B64},iv:{_B64},tag:{_B64},type:([a-z]+)\]$")
_IV = 32
_TAG = 16
PIP = "pip install 'strata-lab[secrets]'"


class UnsealError(ValueError):
    """This text does not open with this key in this place."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A value as it stands in a file, taken apart."""

    data: bytes
    iv: bytes
    tag: bytes
    kind: str


def is_sealed(value: Any) -> bool:
    """Whether it has the form of an encrypted value."""
    return isinstance(value, str) and value.startswith("ENC[AES256_GCM,") and value.endswith("]")


def aes(key: bytes) -> AESGCM:
    """The cipher for a data key. Raises LabError where the library is missing."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise LabError(
            "Unable to decrypt or encrypt secrets: the library cryptography is not installed.",
            hint=PIP,
        ) from error
    return AESGCM(key)


def unseal(cipher: AESGCM, text: str, place: str) -> tuple[Any, bytes]:
    """The value and its IV. Raises UnsealError. ``place`` is the path, ``"db:password:"``."""
    sealed = _taken_apart(text)
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 (an extra)

    try:
        raw = cipher.decrypt(sealed.iv, sealed.data + sealed.tag, place.encode())
        return _value(raw, sealed.kind), sealed.iv
    except InvalidTag:
        raise UnsealError("it was changed, moved or encrypted with another key") from None
    except (ValueError, OverflowError):
        raise UnsealError(f"what it holds is not of the type {sealed.kind}") from None


def _taken_apart(text: str) -> Sealed:
    found = _TEXT.match(text)
    if found is None:
        raise UnsealError("this is not the form of an encrypted value")
    try:
        data, iv, tag = (base64.b64decode(part, validate=True) for part in found.groups()[:3])
    except (binascii.Error, ValueError):
        raise UnsealError("this is not the form of an encrypted value") from None
    if not 8 <= len(iv) <= 128 or len(tag) != _TAG:  # noqa: PLR2004 (what AES-GCM takes)
        raise UnsealError("this is not the form of an encrypted value")
    return Sealed(data, iv, tag, found[4])


def _value(raw: bytes, kind: str) -> Any:
    text = raw.decode()
    match kind:
        case "str" | "bytes":
            return text
        case "int" if len(text) <= 20:  # noqa: PLR2004 (64 bits)
            return int(text)
        case "float":
            return float(text)
        case "bool" if text.lower() in {"true", "false", "1", "0", "t", "f"}:
            return text.lower() in {"true", "1", "t"}
        case "time":
            return Timestamp(text)
        case "comment":
            return Comment(text)
        case _:
            raise ValueError(kind)


def seal(cipher: AESGCM, value: Any, place: str, iv: bytes | None = None) -> str:
    """The encrypted form; with the IV it had before where the value is still the same.

    An IV serves one value in one place only: with another value it would give both away.
    """
    raw = as_bytes(value.text if isinstance(value, Comment) else value)
    if not raw:
        return ""
    iv = iv if iv is not None and len(iv) == _IV else os.urandom(_IV)
    out = cipher.encrypt(iv, raw, place.encode())
    parts = (base64.b64encode(p).decode() for p in (out[:-_TAG], iv, out[-_TAG:]))
    data, iv_text, tag = parts
    return f"ENC[AES256_GCM,data:{data},iv:{iv_text},tag:{tag},type:{kind_of(value)}]"


def kind_of(value: Any) -> str:
    """SOPS's word for the type. Raises ValueError for a value that it has none for."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, Comment):
        return "comment"
    if isinstance(value, Timestamp):
        return "time"
    if isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            raise ValueError("a number in it does not fit into 64 bits: write it in quotes")
        return "int"
    return "float" if isinstance(value, float) else "str"


def key_library() -> tuple[Any, Any, Any]:
    """Serialization, Ed25519 and X25519 of cryptography. Raises LabError where it is missing."""
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 (an extra)
        from cryptography.hazmat.primitives.asymmetric import ed25519, x25519  # noqa: PLC0415
    except ImportError as error:
        raise LabError(
            "Unable to make a key: the library cryptography is not installed.", hint=PIP
        ) from error
    return serialization, ed25519, x25519
