"""Lines of authorized_keys."""

from __future__ import annotations

import base64
import binascii
import hashlib
from itertools import pairwise

_TYPES = ("ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-")


def key_of(line: str) -> str:
    """The key itself of a line with options before it and a comment after it; ``""``: none."""
    words = line.split()
    if not words or words[0].startswith("#"):
        return ""
    return next((key for kind, key in pairwise(words) if kind.startswith(_TYPES)), "")


def title_of(line: str) -> str:
    """How people tell a key: its comment, and the start of the fingerprint that ssh shows."""
    key = key_of(line)
    comment = line.partition(key)[2].strip()
    try:
        digest = hashlib.sha256(base64.b64decode(key, validate=True)).digest()
    except (binascii.Error, ValueError):
        return comment or key[:16]
    shown = f"SHA256:{base64.b64encode(digest).decode()[:12]}"
    return f"{comment} ({shown})" if comment else shown
