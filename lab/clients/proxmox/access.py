"""What is needed to talk to one cluster: its address, its certificate, a token."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lab.errors import DriverError
from lab.masking import hide
from lab.model.proxmox import Proxmox
from lab.model.secret import Secret

_TOKEN = re.compile(
    r"^(?P<user>[^\s:/!=]+@[A-Za-z][\w.-]+)!(?P<id>[A-Za-z][\w.-]+)=(?P<value>\S+)$"
)


@dataclass(frozen=True, slots=True)
class Token:
    """An API token: ``user@realm!id=value``."""

    user: str
    name: str
    value: str = field(repr=False)

    @property
    def who(self) -> str:
        """``user@realm!id``: how ``pveum`` calls it."""
        return f"{self.user}!{self.name}"


@dataclass(frozen=True, slots=True)
class Sent:
    """A file on its way: what it will be called there, and who is told bytes gone and in all.

    ``counting`` may raise to stop it.
    """

    path: Path
    name: str
    counting: Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Access:
    """One cluster's API.

    Attributes:
        url: ``https://pve.lan:8006``.
        fingerprint: SHA-256 of the only certificate that is accepted; ``None``: ``ca`` decides.
        ca: The authority in PEM; ``""``: those of this machine.
        secret: Where the token is.
    """

    url: str
    fingerprint: str | None
    ca: str
    secret: Secret

    @classmethod
    def of(cls, provider: Proxmox, root: Path) -> Access:
        """The access that a provider's section describes; ``root`` is the lab's.

        A section that comes from the ledger holds the name of its CA file only. Raises DriverError
        where that cannot be read.
        """
        ca = ""
        if provider.ca is not None:
            path = root / provider.ca.path
            try:
                ca = provider.ca.text or path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise DriverError(
                    f"Unable to read the certificate authority {path}: {error}.",
                    hint="mend ca: of the provider in lab.yaml",
                ) from error
        return cls(provider.url, provider.fingerprint, ca, provider.token)

    @property
    def host(self) -> str:
        """The name or address alone, without the brackets of IPv6."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port; without one in the address that of HTTPS."""
        return urlsplit(self.url).port or 443

    def token(self) -> Token:
        """The token, decrypted now; from then on its value is masked in all output.

        Raises DriverError where the secret holds something else.
        """
        text = self.secret.reveal().strip()
        found = _TOKEN.match(text)
        if found is None:
            raise DriverError(
                f"Unable to log in to {self.url}: the secret {self.secret.name} does not hold a "
                "token; that is user@realm!id=value.",
                hint=f"lab secrets set {self.secret.name}   (docs/proxmox.md makes a token)",
            )
        hide(found["value"], self.secret.name)
        return Token(found["user"], found["id"], found["value"])
