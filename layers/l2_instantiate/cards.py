"""A machine's network card, and what the guest is told about its network."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from lab.model.proxmox import BridgeName, Vlan

_MAC = re.compile(r"^([0-9A-F]{2}:){5}[0-9A-F]{2}$")
_DOMAIN = re.compile(
    r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$"
)


def _address(value: Any) -> Any:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError(f"{value!r} is not an address: write it like 192.0.2.1") from None


def _mac(value: Any) -> Any:
    mac = str(value).upper()
    if not _MAC.match(mac):
        raise ValueError(
            f"{value!r} is not a MAC address: write it in quotes, like BC:24:11:00:00:01"
        )
    if int(mac[:2], 16) & 1:
        raise ValueError(f"{value!r} is a group's address, not a card's: its first byte is odd")
    return mac


def _domain(value: Any) -> Any:
    if not isinstance(value, str) or not _DOMAIN.match(value):
        raise ValueError(f"{value!r} is not a domain: write it like home.arpa")
    return value


Address = Annotated[str, BeforeValidator(_address)]


class Network(BaseModel):
    """The section ``machine.network``; the address itself stands in the host's entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bridge: BridgeName | None = Field(default=None, description="left out: the provider's")
    vlan: Vlan | None = Field(default=None, description="left out: the provider's")
    mac: Annotated[str, BeforeValidator(_mac)] | None = Field(
        default=None, description="left out: one that follows from lab and host"
    )
    firewall: bool = Field(default=False, description="the node's firewall looks at this card")
    gateway: Address | None = Field(default=None, description="of a host with an address")
    dns: tuple[Address, ...] = ()
    domain: Annotated[str, BeforeValidator(_domain)] | None = None

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.dns)) < len(self.dns):
            raise ValueError("dns names a server twice")
        return self
