"""``network`` and ``wireguard``: files of systemd-networkd, read before those of other tools.

netplan writes ``10-netplan-…``; the first file that fits an interface counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layers.l3_system.spec import System
from layers.l3_system.spec.network import Interface, Network
from layers.l3_system.spec.wireguard import Peer, Wireguard

NAME = "network"
FOLDER = "/etc/systemd/network/05-strata-"
Section = tuple[str, Sequence[tuple[str, object]]]


def expand(system: System) -> Mapping[str, Any]:
    """A .network an interface, a .netdev a virtual one, and systemd-networkd that reads them."""
    network = system.network or Network()
    files: dict[str, Any] = {}
    for name, interface in network.interfaces.items():
        files |= _interface(name, interface, network)
    for name, tunnel in system.wireguard.items():
        files |= _tunnel(name, tunnel)
    if not files:
        return {}
    out: dict[str, Any] = {
        "files": files,
        "services": {"systemd-networkd": {"state": "running", "restart_on": sorted(files)}},
    }
    packages = ["wireguard-tools"] if system.wireguard else []
    if any(interface.dns for interface in network.interfaces.values()):
        packages.append("systemd-resolved")
        out["services"]["systemd-resolved"] = "running"
    return {**out, "packages": packages} if packages else out


def _interface(name: str, interface: Interface, network: Network) -> dict[str, Any]:
    files: dict[str, Any] = {}
    if interface.vlan is not None:
        kind: Section = ("VLAN", [("Id", interface.vlan.id)])
        files |= _file(f"{name}.netdev", [("NetDev", _netdev(name, "vlan")), kind])
    elif interface.bridge is not None:
        files |= _file(f"{name}.netdev", [("NetDev", _netdev(name, "bridge"))])
    masters = {p: n for n, i in network.interfaces.items() for p in i.bridge or ()}
    for port in interface.bridge or ():
        if port not in network.interfaces:
            files |= _file(f"{port}.network", _port(port, name))
    if name in masters:
        return {**files, **_file(f"{name}.network", _port(name, masters[name]))}
    vlans = [n for n, i in network.interfaces.items() if i.vlan is not None and i.vlan.link == name]
    lines: list[tuple[str, object]] = [("DHCP", "yes" if interface.dhcp else "no")]
    lines += [("Address", a) for a in interface.address]
    lines += [("Gateway", g) for g in interface.gateway]
    lines += [("DNS", d) for d in interface.dns]
    lines += [("Domains", " ".join(interface.domains))] if interface.domains else []
    lines += [("VLAN", v) for v in vlans]
    sections: list[Section] = [("Match", [("Name", name)])]
    if interface.mtu is not None:
        sections.append(("Link", [("MTUBytes", interface.mtu)]))
    sections.append(("Network", lines))
    for route in interface.routes:
        words = [("Destination", route.to), ("Gateway", route.via), ("Metric", route.metric)]
        sections.append(("Route", [(k, v) for k, v in words if v is not None]))
    return {**files, **_file(f"{name}.network", sections)}


def _port(name: str, bridge: str) -> list[Section]:
    return [("Match", [("Name", name)]), ("Network", [("Bridge", bridge)])]


def _netdev(name: str, kind: str) -> list[tuple[str, object]]:
    return [("Name", name), ("Kind", kind)]


def _tunnel(name: str, tunnel: Wireguard) -> dict[str, Any]:
    """The key itself stands in a file of its own, never here."""
    own: list[tuple[str, object]] = [("PrivateKeyFile", f"{FOLDER}{name}.key")]
    if tunnel.listen_port is not None:
        own.append(("ListenPort", tunnel.listen_port))
    peers = [("WireGuardPeer", _peer(name, n, p)) for n, p in enumerate(tunnel.peers)]
    device: list[Section] = [("NetDev", _netdev(name, "wireguard")), ("WireGuard", own), *peers]
    lines: list[Section] = [("Match", [("Name", name)])]
    if tunnel.mtu is not None:
        lines.append(("Link", [("MTUBytes", tunnel.mtu)]))
    lines.append(("Network", [("Address", a) for a in tunnel.address]))
    private = {"mode": "0640", "group": "systemd-network"}
    return {**_file(f"{name}.netdev", device, **private), **_file(f"{name}.network", lines)}


def _peer(tunnel: str, number: int, peer: Peer) -> list[tuple[str, object]]:
    lines: list[tuple[str, object]] = [("PublicKey", peer.public_key)]
    if peer.preshared_key is not None:
        lines.append(("PresharedKeyFile", f"{FOLDER}{tunnel}.psk{number}"))
    lines.append(("AllowedIPs", ",".join(peer.allowed_ips)))
    lines += [("Endpoint", peer.endpoint)] if peer.endpoint else []
    lines += [("PersistentKeepalive", peer.keepalive)] if peer.keepalive else []
    # a route to what lies behind it, as wg-quick makes it
    return [*lines, ("RouteTable", "main")]


def _file(name: str, sections: Sequence[Section], **more: str) -> dict[str, Any]:
    text = "# Written by Strata\n"
    for title, lines in sections:
        text += f"\n[{title}]\n" + "".join(f"{key}={value}\n" for key, value in lines)
    return {f"{FOLDER}{name}": {"content": text, **more}}
