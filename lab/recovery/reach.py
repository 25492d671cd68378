"""How the hosts of a run are reached: asked of the layers that make machines, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lab.clients.shell import Endpoint
from lab.engine import Engine
from lab.engine.protocol import Options
from lab.errors import LabError, TransportError
from lab.layer import Layer
from lab.model.host import Host
from lab.model.outcome import ExitCode, RunReport


def machine_layer(layers: Sequence[Layer]) -> int:
    """The index of the layer that hands up how a machine is reached."""
    return next(
        (n for n, layer in enumerate(layers) if "address" in layer.outputs_type.model_fields),
        len(layers) - 1,
    )


def handed_by(engine: Engine, hosts: Sequence[Host], jobs: int) -> RunReport:
    """A look at the machines; ``handed`` holds how each is reached. Changes nothing."""
    return engine.plan(hosts, Options(machine_layer(engine.layers)), jobs=jobs)


def endpoint_of(report: RunReport, host: str) -> Endpoint:
    """Where the host is. Raises TransportError where it is not there or does not run."""
    handed: Mapping[str, Any] = report.handed.get(host, {})
    if not handed.get("address") or (handed.get("port") is None and _by_ssh(handed)):
        raise _absent(report, host)
    return Endpoint(
        name=host,
        kind=handed.get("connection") or "ssh",
        address=str(handed["address"]),
        port=handed.get("port") or 22,
        user=handed.get("user") or "",
        host_key=handed.get("host_key"),
        identity_file=handed.get("identity_file"),
        sudo_password=handed.get("sudo_password"),
    )


def _by_ssh(handed: Mapping[str, Any]) -> bool:
    return handed.get("connection") in {None, "ssh"}


def _absent(report: RunReport, host: str) -> LabError:
    failure = next((p.failure for p in report.parts if p.host == host and p.failure), None)
    if failure is not None and report.exit_code is not ExitCode.UNREACHABLE:
        return LabError(failure.message, hint=failure.hint)
    why = failure.message.rstrip(".") if failure else "it does not exist yet, or does not run"
    return TransportError(f"Unable to reach {host}: {why}.", hint=f"lab converge host={host}")
