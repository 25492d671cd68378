"""``network``: interfaces with their addresses, VLANs and bridges, for systemd-networkd."""

from __future__ import annotations

import re
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from layers.l3_system.spec.types import Declared, Word

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$")
_LAST_VLAN = 4094


def as_list(value: Any) -> Any:
    """One value is short for a list of it."""
    return value if isinstance(value, (list, tuple)) else (value,)


def _interface_name(value: str) -> str:
    if not _NAME.match(value) or value == "lo":
        raise ValueError(f"{value!r} is not an interface's name: at most 15 letters, digits, . _ -")
    return value


def _address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError as error:
        raise ValueError(f"{value!r} is not an address: write it like 192.0.2.1") from error


def _interface(value: str) -> str:
    if "/" not in value:
        raise ValueError(f"{value!r} needs its prefix: write it like 192.0.2.5/24")
    try:
        found = ip_interface(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not an address: write it like 192.0.2.5/24") from error
    if found.network.num_addresses > 2 and found.ip == found.network.network_address:  # noqa: PLR2004
        raise ValueError(f"{value!r} is the network itself: give an address within it")
    return str(found)


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError as error:
        raise ValueError(f"{value!r} is not a network: write it like 192.0.2.0/24") from error


InterfaceName = Annotated[str, AfterValidator(_interface_name)]
IpAddress = Annotated[str, AfterValidator(_address)]
IpInterface = Annotated[str, AfterValidator(_interface)]
IpNetwork = Annotated[str, AfterValidator(_network)]


class Vlan(Declared):
    """A VLAN on another interface that is declared."""

    id: int = Field(ge=1, le=_LAST_VLAN)
    link: InterfaceName


class Route(Declared):
    """A way to a network."""

    to: IpNetwork
    via: IpAddress | None = None
    metric: int | None = Field(default=None, ge=0)


class Interface(Declared):
    """One interface. ``eth1:`` with nothing after it is brought up without an address."""

    dhcp: bool = False
    address: Annotated[tuple[IpInterface, ...], BeforeValidator(as_list)] = ()
    gateway: Annotated[tuple[IpAddress, ...], BeforeValidator(as_list)] = ()
    dns: Annotated[tuple[IpAddress, ...], BeforeValidator(as_list)] = ()
    domains: Annotated[tuple[Word, ...], BeforeValidator(as_list)] = ()
    routes: tuple[Route, ...] = ()
    mtu: int | None = Field(default=None, ge=68, le=65535)
    vlan: Vlan | None = None
    bridge: tuple[InterfaceName, ...] | None = Field(
        default=None, description="the interfaces that are its ports"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.vlan is not None and self.bridge is not None:
            raise ValueError("it is either a vlan or a bridge")
        nets = [ip_interface(a) for a in self.address]
        for gateway in self.gateway:
            if not _reaches(gateway, nets):
                where = ", ".join(self.address) or "no address here"
                raise ValueError(f"the gateway {gateway} is in none of the networks ({where})")
        return self


def _reaches(gateway: str, nets: list[IPv4Interface | IPv6Interface]) -> bool:
    address = ip_address(gateway)
    return address.is_link_local or any(
        address in net.network and address != net.ip for net in nets
    )


def _null_is_up(value: Any) -> Any:
    return {} if value is None else value


class Network(Declared):
    """The interfaces that systemd-networkd sets up; others are left alone."""

    interfaces: dict[InterfaceName, Annotated[Interface, BeforeValidator(_null_is_up)]] = {}

    @model_validator(mode="after")
    def _joined(self) -> Self:
        ports: dict[str, str] = {}
        for name, interface in self.interfaces.items():
            if interface.vlan is not None and interface.vlan.link not in self.interfaces:
                raise ValueError(
                    f"{name} is a VLAN on {interface.vlan.link}: declare {interface.vlan.link} too"
                )
            for port in interface.bridge or ():
                other = ports.setdefault(port, name)
                if other != name:
                    raise ValueError(f"{port} is a port of both {other} and {name}")
                if port in self.interfaces and (
                    self.interfaces[port].address or self.interfaces[port].dhcp
                ):
                    raise ValueError(f"{port} is a port of {name}: its address belongs to {name}")
        return self
