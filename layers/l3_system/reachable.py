"""Pure: what is declared and would lock us out, told before anything is touched."""

from __future__ import annotations

from layers.l3_system.kinds import firewall
from layers.l3_system.kinds.kind import Place
from layers.l3_system.spec import Spec, unit_name

Where = tuple[str | int, ...]
_SSH = 22
_DAEMONS = {"ssh.service", "sshd.service"}
_SOCKETS = {"ssh.socket", "sshd.socket"}


def problems(spec: Spec, place: Place) -> list[tuple[Where, str]]:
    """Every mistake about the way to the host, with its place in the host's document."""
    return [*_ports(spec), *_rules(spec, place), *_daemon(spec), *_names(spec)]


def _ports(spec: Spec) -> list[tuple[Where, str]]:
    ports = spec.ssh_server.port if spec.ssh_server else ()
    if not spec.forwarded or not ports or _SSH in ports:
        return []
    where = ("system", "ssh_server", "port")
    why = f"the provider leads to port {_SSH} of this machine, so nobody would come in"
    return [(where, f"{why}: add {_SSH}, or leave port out")]


def _rules(spec: Spec, place: Place) -> list[tuple[Where, str]]:
    try:
        firewall.wanted(spec, place)
    except ValueError as error:
        return [(("system", "firewall", "ruleset"), str(error))]
    return []


def _daemon(spec: Spec) -> list[tuple[Where, str]]:
    """Sshd that does not run at the next boot; a timer could not tell before that."""
    units = {unit_name(name): service for name, service in spec.services.items()}
    if any(u in _SOCKETS and s.state == "running" and s.enabled is not False
           for u, s in units.items()):  # fmt: skip
        return []
    return [
        (
            ("system", "services", name),
            "nobody could log in any more, at the latest after the next boot",
        )
        for name, service in spec.services.items()
        if unit_name(name) in _DAEMONS and (service.state == "stopped" or service.enabled is False)
    ]


def _names(spec: Spec) -> list[tuple[Where, str]]:
    interfaces = spec.network.interfaces if spec.network else {}
    return [
        (("system", "wireguard", name), f"{name} is an interface under network already")
        for name in spec.wireguard
        if name in interfaces
    ]
