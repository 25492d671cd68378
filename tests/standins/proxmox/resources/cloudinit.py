"""cloud-init: what a VM's drive would say, and making it anew."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from tests.standins.proxmox import updates
from tests.standins.proxmox.calls import Call, answers
from tests.standins.proxmox.world import Guest

_PATH = "/nodes/{node}/qemu/{vmid}/cloudinit"


@answers("GET", _PATH)
def pending(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    made = guest.cloudinit or {}
    found: list[dict[str, Any]] = []
    keys = ("ciuser", "cipassword", "sshkeys", "nameserver", "searchdomain", "cicustom", "citype")
    for key in (*keys, "ciupgrade", *sorted(_network(guest, made))):
        old, new = made.get(key), guest.config.get(key)
        hidden = "**********" if key == "cipassword" else None
        if old is None and new is None:
            continue
        one: dict[str, Any] = {"key": key}
        if guest.cloudinit is None or old == new:
            one["value"] = hidden or new or old
        else:
            if old is not None:
                one["value"] = hidden or old
            if new is not None:
                one["pending"] = hidden or new
            else:
                one["delete"] = 1
        found.append(one)
    return found


@answers("PUT", _PATH)
def regenerate(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    guest.check_flock()
    guest.check_lock()
    updates.regenerate(guest)


@answers("GET", _PATH + "/dump")
def dump(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    kind = call["type"]
    if kind == "user":
        return _user(guest)
    return _network_text(guest) if kind == "network" else f"instance-id: {guest.digest}\n"


def _network(guest: Guest, made: dict[str, str]) -> set[str]:
    changed = guest.cloudinit is not None
    return {
        key
        for key in {*guest.config, *made}
        if changed and re.fullmatch(r"ipconfig\d+", key) and guest.config.get(key) != made.get(key)
    }


def _user(guest: Guest) -> str:
    config = guest.config
    name = guest.name.partition(".")[0]
    lines = ["#cloud-config", f"hostname: {name}", "manage_etc_hosts: true", f"fqdn: {guest.name}"]
    if user := config.get("ciuser"):
        lines.append(f"user: {user}")
    if config.get("cipassword"):
        lines.append(f"password: {config['cipassword']}")
    if keys := config.get("sshkeys"):
        lines.append("ssh_authorized_keys:")
        lines += [f"  - {one}" for one in unquote(keys).splitlines() if one.strip()]
    lines += ["chpasswd:", "  expire: False"]
    if config.get("ciuser") != "root":
        lines += ["users:", "  - default"]
    upgrade = config.get("ciupgrade", "1") == "1"
    lines.append(f"package_upgrade: {'true' if upgrade else 'false'}")
    return "\n".join(lines) + "\n"


def _network_text(guest: Guest) -> str:
    lines = ["version: 1", "config:"]
    for key in sorted(one for one in guest.config if re.fullmatch(r"net\d+", one)):
        number = key.removeprefix("net")
        mac = re.search(r"=([0-9A-Fa-f:]{17})", guest.config[key])
        lines += [
            "    - type: physical",
            f"      name: eth{number}",
            f"      mac_address: '{mac[1].lower() if mac else ''}'",
            "      subnets:",
        ]
        setting = dict(
            one.partition("=")[::2] for one in guest.config.get(f"ipconfig{number}", "").split(",")
        )
        address = setting.get("ip", "dhcp")
        if address == "dhcp":
            lines.append("      - type: dhcp4")
        else:
            lines += ["      - type: static", f"        address: '{address.partition('/')[0]}'"]
            if gateway := setting.get("gw"):
                lines.append(f"        gateway: '{gateway}'")
    return "\n".join(lines) + "\n"
