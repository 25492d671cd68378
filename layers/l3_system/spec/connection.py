"""What keeps the host reachable: ``ssh_server``, ``firewall``, ``network``, ``wireguard``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from lab.model.later import later
from lab.model.units import Duration
from layers.l3_system.spec.addresses import InterfaceName, IpAddress, as_list
from layers.l3_system.spec.types import Declared, Part, Word

if TYPE_CHECKING:
    from layers.l3_system.spec.firewall import Firewall
    from layers.l3_system.spec.network import Network
    from layers.l3_system.spec.wireguard import Wireguard
else:
    Firewall = later("layers.l3_system.spec.firewall:Firewall")
    Network = later("layers.l3_system.spec.network:Network")
    Wireguard = later("layers.l3_system.spec.wireguard:Wireguard")

_SHORTEST, _LONGEST = 10, 600


def _bearable(seconds: int) -> int:
    if not _SHORTEST <= seconds <= _LONGEST:
        raise ValueError(f"{seconds}s is no time to wait for a host: 10s to 10m")
    return seconds


def _root_login(value: Any) -> Any:
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


class Guard(Declared):
    """How a change that can cut us off is tried: reverted where nobody confirms it in time."""

    window: Annotated[Duration, AfterValidator(_bearable)] = 60


Port = Annotated[int, Field(ge=1, le=65535)]


class SshServer(Declared):
    """sshd; what is left out stays as the system has it."""

    port: Annotated[tuple[Port, ...], BeforeValidator(as_list)] = ()
    listen: Annotated[tuple[IpAddress, ...], BeforeValidator(as_list)] = ()
    password_authentication: bool | None = None
    permit_root_login: Annotated[
        Literal["yes", "no", "prohibit-password", "forced-commands-only"] | None,
        BeforeValidator(_root_login),
    ] = None
    allow_users: tuple[Word, ...] = ()
    allow_groups: tuple[Word, ...] = ()
    options: dict[Annotated[str, Field(pattern=r"^[A-Za-z]+$")], str | int | bool] = Field(
        default={}, description="any other keyword of sshd_config"
    )


class Connection(Part):
    """The keys of ``system`` whose change can cut us off."""

    guard: Guard = Guard()
    ssh_server: SshServer | None = None
    firewall: Firewall | None = None
    network: Network | None = None
    wireguard: dict[InterfaceName, Wireguard] = {}
