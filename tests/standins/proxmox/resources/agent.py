"""The guest agent: what it says of the guest, where there is one."""

from __future__ import annotations

import re
from typing import Any

from tests.standins.proxmox.calls import ApiError, Call, answers
from tests.standins.proxmox.world import Guest

_PATH = "/nodes/{node}/qemu/{vmid}/agent/"


@answers("GET", _PATH + "network-get-interfaces")
def interfaces(call: Call) -> Any:
    guest = _need(call)
    found = [
        {
            "hardware-address": "00:00:00:00:00:00",
            "ip-addresses": [{"ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8}],
            "name": "lo",
        }
    ]
    devices = sorted(key for key in guest.config if re.fullmatch(r"net\d+", key))
    for number, key in enumerate(devices):
        found.append(_interface(guest, key, number))
    return {"result": found}


@answers("POST", _PATH + "ping")
def ping(call: Call) -> Any:
    _need(call)
    return {"result": {}}


@answers("GET", _PATH + "info")
def info(call: Call) -> Any:
    _need(call)
    return {"result": {"supported_commands": [], "version": "9.1.0"}}


@answers("GET", _PATH + "get-host-name")
def host_name(call: Call) -> Any:
    return {"result": {"host-name": _need(call).name}}


@answers("GET", _PATH + "get-osinfo")
def os_info(call: Call) -> Any:
    _need(call)
    return {"result": {"id": "debian", "name": "Debian GNU/Linux", "version-id": "13"}}


@answers("POST", _PATH + "fsfreeze-status")
def freeze_status(call: Call) -> Any:
    _need(call)
    return {"result": "thawed"}


def _need(call: Call) -> Guest:
    guest = call.world.guest(call.vmid, call["node"])
    if not guest.running:
        raise ApiError(f"VM {guest.vmid} is not running")
    enabled = re.match(r"(?:enabled=)?1(?:,|$)", guest.config.get("agent", ""))
    if not enabled:
        raise ApiError("No QEMU guest agent configured")
    if not guest.agent:
        raise ApiError("QEMU guest agent is not running")
    return guest


def _interface(guest: Guest, key: str, number: int) -> dict[str, Any]:
    mac = re.search(r"=([0-9A-Fa-f:]{17})", guest.config[key])
    text = (guest.mac_override or (mac[1] if mac else "")).lower()
    addresses = [
        {
            "ip-address": one.partition("/")[0],
            "ip-address-type": "ipv6" if ":" in one else "ipv4",
            "prefix": int(one.partition("/")[2] or 24),
        }
        for one in _addresses(guest, number)
    ]
    addresses.append({"ip-address": _link_local(text), "ip-address-type": "ipv6", "prefix": 64})
    counters = ("bytes", "dropped", "errs", "packets")
    return {
        "hardware-address": text,
        "ip-addresses": addresses,
        "name": f"eth{number}",
        "statistics": {
            f"{way}-{one}": int(one in {"bytes", "packets"})
            for way in ("rx", "tx")
            for one in counters
        },
    }


def _addresses(guest: Guest, number: int) -> list[str]:
    if guest.addresses is not None:
        return guest.addresses if number == 0 else []
    configured = guest.config.get(f"ipconfig{number}", "")
    found = re.findall(r"ip6?=([0-9a-fA-F.:]+/\d+)", configured)
    return found or [f"10.99.{number}.{guest.vmid % 250 + 2}/24"]


def _link_local(mac: str) -> str:
    parts = [int(one, 16) for one in mac.split(":") if one]
    if len(parts) != 6:
        return "fe80::1"
    parts[0] ^= 2
    whole = [*parts[:3], 0xFF, 0xFE, *parts[3:]]
    groups = [f"{whole[i] << 8 | whole[i + 1]:x}" for i in range(0, 8, 2)]
    return "fe80::" + ":".join(groups)
