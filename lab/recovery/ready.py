"""Before a twin is made: where it can be, what it must not reach, all that stands in its way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from lab.clients.shell import Endpoint, Shell
from lab.engine import Engine
from lab.engine.protocol import Options
from lab.errors import PlanError
from lab.layer import Workspace
from lab.model.host import Host, Part
from lab.model.outcome import Level
from lab.model.proxmox import Proxmox
from lab.recovery import alone, reach, twins
from lab.recovery.twinaddress import borrowed
from lab.recovery.twins import Sandbox

ADDRESSES = "drills/addresses"
"""Below the lab's state: which twin has which address."""
_SSH, _HTTPS = 22, 443
_OF_THE_HOST = (_SSH, 80, _HTTPS)


class NotReady(PlanError):  # noqa: N818 (the house names read as sentences)
    """A drill cannot begin; ``lines`` are all reasons, each with what mends it."""

    def __init__(self, message: str, *, hint: str, lines: Sequence[str]) -> None:
        super().__init__(message, hint=hint)
        self.lines = tuple(lines)


@dataclass(frozen=True)
class Around:
    """What stands around a twin on a cluster, and must be out of its reach.

    Attributes:
        others: Addresses and ports: of the host itself, of the node.
        runner: This machine as twins see it, where lab.yaml says so.
    """

    others: tuple[tuple[str, int], ...]
    runner: str = ""

    def prove(self, shell: Shell, twin: str, endpoint: Endpoint) -> int:
        """See it from inside, and take its way out away; the number of tries. See ``alone``."""
        here = alone.way_to(endpoint.address)
        runner = self.runner or here
        with alone.listening(here) as port:
            tries = alone.prove(shell, twin, port.seen_at(runner), self.others)
        alone.cut(shell, runner)
        return tries


@contextmanager
def placed(
    engine: Engine, workspace: Workspace, host: Host, made: Part | None, sandbox: Sandbox
) -> Iterator[tuple[Sandbox, Around | None]]:
    """The sandbox, with an address where it needs one; and what the twin must not reach.

    Raises PlanError where there is no address for it.
    """
    provider = twins.proxmox_of(made)
    if sandbox.kind != "proxmox" or provider is None:
        yield sandbox, None
        return
    declared = engine.inventory.hosts.values()
    with borrowed(provider, host, declared, workspace.state / ADDRESSES) as address:
        around = Around(_others(engine, host, provider), provider.drills.runner or "")
        yield replace(sandbox, address=address), around


def require_ready(engine: Engine, workspace: Workspace, host: Host) -> None:
    """Raise NotReady with everything that a look can find; nothing was made yet."""
    runway = engine.layers[0]
    found = [
        finding
        for part in host.parts.get(runway.name, ())
        for finding in runway.findings(workspace, host, part, (host,))
        if finding.level is Level.FAIL
    ]
    wrong = [(f"{f.what}: {f.detail}", f.hint) for f in found]
    if not wrong:
        report = engine.plan([host], Options(reach.machine_layer(engine.layers)))
        blockers = (b for p in report.parts for b in p.plan.blockers)
        wrong = [(f"{b.what}: {b.why}", b.hint) for b in blockers]
    if wrong:
        raise NotReady(
            f"Unable to drill {host.name}: {'; '.join(what for what, _ in wrong)}.",
            hint=next((hint for _, hint in wrong if hint), ""),
            lines=[f"{what}   Try: {hint}" if hint else what for what, hint in wrong],
        )


def _others(engine: Engine, host: Host, provider: Proxmox) -> tuple[tuple[str, int], ...]:
    """The host itself and the node; what else there is the twin finds by itself."""
    handed = reach.handed_by(engine, [host], 1).handed.get(host.name, {})
    address = str(handed.get("address") or host.address or "").split("/")[0]
    url = urlsplit(provider.url)
    node = alone.address_of(url.hostname or "")
    found = [(address, port) for port in _OF_THE_HOST if address]
    found += [(node, port) for port in (url.port or _HTTPS, _SSH) if node]
    return tuple(found)


__all__ = ["Around", "NotReady", "placed", "require_ready"]
