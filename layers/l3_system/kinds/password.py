"""Password hashes, without ever showing one."""

from __future__ import annotations

import hashlib
import re

from lab.errors import LabError
from lab.model.secret import Secret

_CRYPT = re.compile(r"\$(?:y|gy|7|6|5|2[abxy]|1|sha1|md5)\$[./A-Za-z0-9,=$+-]{20,}")
_NONE = {"*", "!", "!*", "!!"}


def fingerprint(field: str) -> str | None:
    """What a field of /etc/shadow can be compared by; ``None`` where no password fits."""
    return None if field in _NONE else f"sha256:{hashlib.sha256(field.encode()).hexdigest()[:16]}"


def hash_of(secret: Secret, user: str) -> str:
    """The hash that the secret holds. Raises LabError where it is anything else."""
    value = secret.reveal().strip()
    if not _CRYPT.fullmatch(value):
        raise LabError(
            f"Unable to use the secret {secret.name} as the password_hash of user {user}:"
            " it is not a hash in crypt format.",
            hint="make one with: mkpasswd -m yescrypt (package whois); then: lab secrets edit",
        )
    return value
