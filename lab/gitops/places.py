"""Where a token is kept: the settings name the place, and never hold the value."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from lab.errors import LabError
from lab.masking import hide

KINDS = ("secret", "env", "file")
WANTED = "say where the secret is, never the secret: secret:NAME, env:NAME or file:PATH"


def check_place(value: str) -> str:
    """``secret:NAME`` (a secret of the lab), ``env:NAME`` or ``file:PATH``. Raises ValueError."""
    kind, colon, name = value.replace("!secret ", "secret:", 1).partition(":")
    if kind not in KINDS or not colon or not name.strip():
        raise ValueError(WANTED)
    return f"{kind}:{name.strip()}"


def check_address(value: str) -> str:
    """An address for messages: one without a password in it, or where one with it is kept.

    Raises ValueError. Nearly every kind but ntfy has its password in the address.
    """
    if value.startswith(("!secret ", *(f"{kind}:" for kind in KINDS))):
        return check_place(value)
    parts = urlsplit(value)
    if parts.scheme not in {"ntfy", "ntfys"} or "@" in parts.netloc:
        what = "an address that may hold a password is kept elsewhere"
        raise ValueError(f"{what}: secret:NAME, env:NAME or file:PATH; plain: ntfys://HOST/TOPIC")
    return value


def is_place(value: str) -> bool:
    """Whether it has to be looked up."""
    return value.partition(":")[0] in KINDS


def reveal(place: str) -> str:
    """The value at ``env:NAME`` or ``file:PATH``; it is masked from now on. Raises LabError."""
    kind, _, name = place.partition(":")
    if kind == "secret":
        raise LabError(f"Unable to use the secret {name}: no commit of the lab is at hand.")
    if kind == "env":
        value = os.environ.get(name, "")
        where = f"the environment variable {name}"
    else:
        where = name
        try:
            value = Path(name).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise LabError(f"Unable to read the secret in {where}: {error}.") from error
    if not value:
        raise LabError(f"Unable to read a secret: {where} is empty.")
    hide(value, name)
    return value
