"""``wireguard``: tunnels, each with its key and its peers."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from lab.model.secret import SecretText
from layers.l3_system.spec.addresses import IpInterface, IpNetwork, as_list
from layers.l3_system.spec.types import Declared, Path

_KEY_BYTES = 32
_ENDPOINT = re.compile(r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$")


def _key(value: str) -> str:
    try:
        raw = base64.b64decode(value, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != _KEY_BYTES:
        raise ValueError("this is not a key of WireGuard: 44 characters, the last one is =")
    return value


def _endpoint(value: str) -> str:
    if not _ENDPOINT.match(value):
        raise ValueError(f"{value!r}: write it like vpn.example.net:51820 or [fd00::1]:51820")
    return value


Key = Annotated[str, AfterValidator(_key)]


class Peer(Declared):
    """The other end of a tunnel, by its public key."""

    public_key: Key
    allowed_ips: Annotated[tuple[IpNetwork, ...], BeforeValidator(as_list)]
    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = None
    keepalive: int | None = Field(default=None, ge=1, le=65535, description="seconds")
    preshared_key: SecretText | None = None


class Wireguard(Declared):
    """One tunnel. Its key is ``!secret …``, or made on the host and never leaves it.

    ``key_file`` on a durable disk lets a rebuilt host keep a key that was made there.
    """

    address: Annotated[tuple[IpInterface, ...], BeforeValidator(as_list)]
    listen_port: int | None = Field(default=None, ge=1, le=65535)
    private_key: SecretText | Literal["generated"] = "generated"
    key_file: Path | None = Field(
        default=None, description="where a generated key is kept; on a durable disk it survives"
    )
    mtu: int | None = Field(default=None, ge=68, le=65535)
    peers: tuple[Peer, ...] = ()
