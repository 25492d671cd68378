"""Pure: what planning has to know of machines that Proxmox VE carries, and of nobody else's."""

from __future__ import annotations

import ipaddress
from typing import Any

from lab.model.host import Host, Part
from lab.model.plan import Blocker, FieldDiff
from lab.model.units import show_size_exact
from layers.l2_instantiate import steps
from layers.l2_instantiate.machines import Container, Made
from layers.l2_instantiate.settings import LATER, ONLINE, settings
from layers.l2_instantiate.spec import Observed, Outputs, Spec
from layers.l2_instantiate.wanted import Machine

_GIB = 1024**3
_OWN = ("network", "tags", "pool", "start", "protection", "agent", "boot")
_SIZES = {"memory", "swap"}
_MOST_DISKS = 15  # virtio1 to virtio15; root is virtio0, scsi0 or whatever its template has

Problems = tuple[tuple[tuple[str | int, ...], str], ...]


def misplaced(part: Part) -> Problems:
    """What only Proxmox VE can do, asked of another provider."""
    assert isinstance(part.spec, Spec)  # noqa: S101 (for the type checker)
    machine, kind = part.spec.machine, part.driver
    if isinstance(machine, Container):
        what = f"containers (kind: lxc) are made by a provider of kind proxmox, not {kind}"
        return ((("machine", "kind"), what),)
    return tuple(
        (("machine", name), f"{name} is for a provider of kind proxmox; {kind} cannot do it")
        for name in _OWN
        if name in machine.model_fields_set
    )


def problems(host: Host, spec: Spec) -> Problems:
    """What types cannot see: sizes that the node rounds, addresses that do not fit together."""
    return (*_disk_problems(spec.machine), *_network_problems(host, spec.machine))


def _disk_problems(machine: Made) -> Problems:
    found: list[tuple[tuple[str | int, ...], str]] = [
        (
            ("machine", "disks", name, "size"),
            (
                f"the disk {name} has {show_size_exact(disk.size)}: on Proxmox VE a disk is a "
                "whole number of GiB"
            ),
        )
        for name, disk in machine.disks.items()
        if disk.size % _GIB
    ]
    if len(machine.disks) - 1 > _MOST_DISKS:
        what = f"a machine of Proxmox VE has at most {_MOST_DISKS} disks besides root"
        found.append((("machine", "disks"), what))
    return tuple(found)


def _network_problems(host: Host, machine: Made) -> Problems:
    network = machine.network
    if network is None:
        return ()
    if host.address is None:
        told = [name for name in ("gateway", "dns", "domain") if getattr(network, name)]
        return tuple(
            (
                ("machine", "network", name),
                (
                    f"{name} goes with an address of its own; without one all of it comes by DHCP: "
                    "write address: 192.0.2.11/24 in the host's entry"
                ),
            )
            for name in told
        )
    own = ipaddress.ip_interface(host.address)
    if "/" not in host.address:
        what = f"{host.address} lacks its network: write {host.address}/24"
        return ((("address",), what),)
    if network.gateway is None:
        return ()
    gateway = ipaddress.ip_address(network.gateway)
    where = ("machine", "network", "gateway")
    if gateway not in own.network:
        return ((where, f"the gateway {gateway} is not in the network {own.network}"),)
    if gateway == own.ip:
        return ((where, f"{gateway} is the machine's own address"),)
    return ()


def fields(target: Machine, observed: Observed) -> list[FieldDiff]:
    """Settings that differ, live ones first; then pending ones of which only that is wrong."""
    if target.spec.proxmox is None:
        return []
    wanted: dict[str, Any] = settings(target)
    found = [
        _diff(name, observed.settings.get(name), value)
        for name, value in wanted.items()
        if observed.settings.get(name) != value
    ]
    sizes = {"cpu": target.spec.machine.cpu, "memory": int(target.spec.machine.memory)}
    live = {"cpu": observed.cpu, "memory": observed.memory, **observed.settings}
    for name, later in sorted(observed.pending.items()):
        value = (wanted | sizes).get(name)
        if live.get(name) == value and later != value:
            found.append(_diff(name, later, value, LATER))
    return found


def _diff(name: str, before: Any, after: Any, suffix: str = "") -> FieldDiff:
    if name in _SIZES:
        shown = tuple(show_size_exact(v) if v else v for v in (before, after))
        return steps.diff(f"{name}{suffix}", *shown)
    return steps.diff(f"{name}{suffix}", before, after)


def is_online(target: Machine, differing: tuple[FieldDiff, ...]) -> bool:
    """Whether all of that takes effect while the machine runs."""
    if target.spec.proxmox is None:
        return False
    return all(f.field in ONLINE or f.field.endswith(LATER) for f in differing)


def is_held(observed: Observed) -> bool:
    """Whether the node itself refuses to remove it."""
    return bool(observed.settings.get("protection"))


def held(host: str) -> Blocker:
    """What stands in the way of removing a machine that is under the node's protection."""
    return Blocker(
        steps.MACHINE,
        f"{host} is under its node's protection, which refuses to remove it",
        hint=f"write machine: {{protection: false}} for {host}, then: lab converge l2 host={host}",
    )


def outputs(target: Machine, observed: Observed) -> Outputs:
    """How to reach it at its own address; every port of it is found there."""
    machine = target.spec.machine
    declared = target.host.address and target.host.address.split("/")[0]
    address = declared or observed.address
    host_key = observed.host_key
    if isinstance(machine, Container):
        host_key = machine.host_key
    shut = target.spec.isolated
    ports = () if shut else (str(p.guest) for p in machine.ports if p.protocol == "tcp")
    return Outputs(
        address=address,
        port=22,
        user=machine.login.user,
        host_key=host_key,
        identity_file=observed.identity_file,
        endpoints={port: f"{_bracketed(address)}:{port}" for port in ports} if address else {},
        shut=shut,
    )


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
