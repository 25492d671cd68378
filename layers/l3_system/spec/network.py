"""``network``: interfaces with their addresses, VLANs and bridges, for systemd-networkd."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from layers.l3_system.spec.addresses import (
    InterfaceName,
    IpAddress,
    IpInterface,
    IpNetwork,
    as_list,
)
from layers.l3_system.spec.types import Declared, Word

_LAST_VLAN = 4094


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
