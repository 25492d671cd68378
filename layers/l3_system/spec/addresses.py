"""Addresses, networks and names of interfaces, as users write them."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_interface, ip_network
from typing import Annotated, Any

from pydantic import AfterValidator

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$")


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
