"""An address for a twin: never that of the host which it stands for."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.errors import Locked, PlanError
from lab.journal import locked
from lab.model.host import Host
from lab.model.proxmox import DHCP, AddressRange, Proxmox

_SSH = 22
_PATIENCE = 0.7


@contextlib.contextmanager
def borrowed(
    provider: Proxmox, host: Host, declared: Iterable[Host], folder: Path
) -> Iterator[str]:
    """``192.0.2.203/24``, held as long as the context; ``""``: DHCP gives one.

    Of the provider's range one in the host's own network, that no host is declared with and that
    nobody answers at; the one of the last drill first. ``folder`` keeps who has which.

    Raises PlanError where there is none.
    """
    if host.address is None or provider.drills.addresses == DHCP:
        yield ""
        return
    own = ipaddress.ip_interface(host.address)
    if provider.drills.addresses is None:
        raise PlanError(
            f"Unable to drill {host.name} on its node: its twin must not have its address "
            f"{own.ip}, and no other is declared.",
            hint=f"drills: {{addresses: {_like(own)}}} of the provider {host.provider} in lab.yaml "
            "(or dhcp, where somebody gives addresses there); or --sandbox docker",
        )
    taken = {ip for h in declared if (ip := _ip(h))}
    wanted = provider.drills.addresses
    assert isinstance(wanted, AddressRange)  # noqa: S101 (dhcp has returned)
    fitting = [
        a for a in wanted.addresses if ipaddress.ip_address(a) in own.network and a not in taken
    ]
    if not fitting:
        raise PlanError(
            f"Unable to drill {host.name} on its node: none of {provider.drills.addresses} is in "
            f"its network {own.network} and no host's.",
            hint=f"drills: {{addresses: …}} of the provider {host.provider} in lab.yaml",
        )
    last = _last(folder, host.name)
    for address in sorted(fitting, key=lambda a: a != last):
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked(folder, [address.replace(":", "_")], "drill"))
            except Locked:
                continue  # another drill's
            if address != last and _answers(address):
                continue
            (folder / f"{host.name}.last").write_text(address, encoding="ascii")
            yield f"{address}/{own.network.prefixlen}"
            return
    raise PlanError(
        f"Unable to drill {host.name} on its node: all of {provider.drills.addresses} are in use.",
        hint=f"a wider range: drills: {{addresses: …}} of the provider {host.provider}",
    )


def _last(folder: Path, host: str) -> str:
    """What its last drill had: where that was killed, its twin may still have it."""
    try:
        return (folder / f"{host}.last").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _ip(host: Host) -> str:
    """Its declared address; a name is one of a machine that is there already."""
    try:
        return str(ipaddress.ip_interface(host.address).ip) if host.address else ""
    except ValueError:
        return ""


def _answers(address: str) -> bool:
    """Whether somebody is there: a refusal is an answer, too."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PATIENCE)
        try:
            probe.connect((address, _SSH))
        except ConnectionRefusedError:
            return not ipaddress.ip_address(address).is_loopback  # there this machine refuses all
        except OSError:
            return False
        return True


def _like(own: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> str:
    """A range in that network, as an example."""
    first = own.network.network_address + min(200, max(own.network.num_addresses - 12, 1))
    return f"{first}-{first + min(9, own.network.num_addresses - 3)}"


__all__ = ["borrowed"]
