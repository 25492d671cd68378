"""Hashes of passwords as /etc/shadow holds them: SHA-512 here, yescrypt by the C library."""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import secrets

from lab.errors import LabError

_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ROUNDS = 5000  # what crypt(3) takes where none are given
_SALT = 16
_MAX_PASSWORD = 256
# the order in which SHA-crypt takes the bytes of a digest, three at a time
_ORDER = [
    (0, 21, 42), (22, 43, 1), (44, 2, 23), (3, 24, 45), (25, 46, 4), (47, 5, 26), (6, 27, 48),
    (28, 49, 7), (50, 8, 29), (9, 30, 51), (31, 52, 10), (53, 11, 32), (12, 33, 54),
    (34, 55, 13), (56, 14, 35), (15, 36, 57), (37, 58, 16), (59, 17, 38), (18, 39, 60),
    (40, 61, 19), (62, 20, 41),
]  # fmt: skip


def hashed(password: str, method: str) -> str:
    """The hash with a fresh salt; ``method`` is ``"sha512"`` or ``"yescrypt"``. Raises LabError."""
    raw = password.encode()
    if not raw or len(raw) > _MAX_PASSWORD or b"\0" in raw:
        raise LabError(
            f"Unable to hash the password: 1 to {_MAX_PASSWORD} bytes of text are expected."
        )
    if method == "yescrypt":
        return _yescrypt(raw)
    return sha512_crypt(raw, "".join(secrets.choice(_ALPHABET) for _ in range(_SALT)))


def sha512_crypt(password: bytes, salt_text: str) -> str:
    """``$6$salt$hash``, as the specification of SHA-crypt says (5000 rounds)."""
    salt = salt_text.encode()
    size = len(password)
    other = hashlib.sha512(password + salt + password).digest()
    first = hashlib.sha512(password + salt + _filled(other, size))
    bits = size
    while bits:
        first.update(other if bits & 1 else password)
        bits >>= 1
    digest = first.digest()
    p = _filled(hashlib.sha512(password * size).digest(), size)
    s = _filled(hashlib.sha512(salt * (16 + digest[0])).digest(), len(salt))
    for number in range(_ROUNDS):
        step = hashlib.sha512(p if number % 2 else digest)
        step.update(s if number % 3 else b"")
        step.update(p if number % 7 else b"")
        step.update(digest if number % 2 else p)
        digest = step.digest()
    text = "".join(_four(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in _ORDER)
    return f"$6${salt_text}${text}{_four(digest[63], 2)}"


def _filled(block: bytes, size: int) -> bytes:
    return (block * (size // len(block) + 1))[:size]


def _four(value: int, characters: int) -> str:
    return "".join(_ALPHABET[value >> 6 * n & 63] for n in range(characters))


def _yescrypt(password: bytes) -> str:
    library = _crypt_library()
    if library is None:
        raise LabError(
            "Unable to hash with yescrypt: the C library of this machine does not know it.",
            hint="--hash sha512",
        )
    library.crypt_gensalt.restype = ctypes.c_char_p
    library.crypt.restype = ctypes.c_char_p
    random = secrets.token_bytes(_SALT)
    setting: bytes | None = library.crypt_gensalt(b"$y$", ctypes.c_ulong(0), random, len(random))
    result: bytes | None = library.crypt(password, setting) if setting else None
    if result is None or not result.startswith(b"$y$"):
        raise LabError("Unable to hash with yescrypt: the C library refused.", hint="--hash sha512")
    return result.decode()


def _crypt_library() -> ctypes.CDLL | None:
    """libxcrypt, ``None`` where there is none or it is older than yescrypt."""
    for name in ("libcrypt.so.1", "libcrypt.so.2", ctypes.util.find_library("crypt")):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if library is not None and hasattr(library, "crypt_gensalt"):
            return library
    return None
