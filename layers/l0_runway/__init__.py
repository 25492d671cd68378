"""L0: is this machine, or the cluster, ready for what the host needs of it? Wiring only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.errors import LabError
from lab.layer import Driver, Layer, Target, Workspace
from lab.model.host import Host, Part
from lab.model.outcome import Finding, Level
from layers.l0_runway import planner
from layers.l0_runway.spec import Document, Inputs, Outputs, Spec


def _local(workspace: Workspace) -> Driver[Any, Any, Any]:
    from layers.l0_runway.drivers.local.driver import LocalDriver  # noqa: PLC0415 (lazy)

    return LocalDriver(workspace)


def _memory(workspace: Workspace) -> Driver[Any, Any, Any]:
    from layers.l0_runway.drivers.memory import MemoryDriver  # noqa: PLC0415 (lazy)

    return MemoryDriver(workspace)


def _proxmox(workspace: Workspace) -> Driver[Any, Any, Any]:
    from layers.l0_runway.drivers.proxmox import ProxmoxDriver  # noqa: PLC0415 (lazy)

    return ProxmoxDriver(workspace)


def _findings(
    workspace: Workspace, host: Host, part: Part, hosts: Sequence[Host] = ()
) -> tuple[Finding, ...]:
    """For ``lab doctor``: everything that was looked at for one host, beside ``hosts``."""
    target = Target(host, part.spec, Inputs(hosts=tuple(hosts)), part.name)
    try:
        observed = LAYER.drivers[part.driver](workspace).observe(target)
    except LabError as error:
        return (Finding(Level.FAIL, f"l0 {part.driver}", error.message, error.hint),)
    return planner.findings(observed) if observed is not None else ()


LAYER = Layer(
    name="l0_runway",
    title="runway",
    sections=(),
    document=Document,
    spec=Spec,
    inputs=Inputs,
    outputs_type=Outputs,
    parts=planner.parts,
    plan=planner.plan,
    predict=planner.predict,
    outputs=planner.outputs,
    findings=_findings,
    drivers={"local": _local, "memory": _memory, "proxmox": _proxmox},
)
