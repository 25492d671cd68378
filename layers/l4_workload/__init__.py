"""L4: are the workloads deployed and healthy? Wiring only; the rest is imported when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.layer import Driver, Layer, Workspace
from lab.lazy import Later

if TYPE_CHECKING:
    from layers.l4_workload import planner, spec
else:
    planner = Later("layers.l4_workload.planner")
    spec = Later("layers.l4_workload.spec")


def _compose(workspace: Workspace) -> Driver[Any, Any, Any]:
    from layers.l4_workload.drivers.compose import ComposeDriver  # noqa: PLC0415 (lazy by design)

    return ComposeDriver(workspace)


def _memory(workspace: Workspace) -> Driver[Any, Any, Any]:
    from layers.l4_workload.drivers.memory import MemoryDriver  # noqa: PLC0415

    return MemoryDriver(workspace)


LAYER = Layer(
    name="l4_workload",
    title="workload",
    sections=("workloads",),
    optional=True,
    document=spec.Document,
    spec=spec.Workload,
    inputs=spec.Inputs,
    outputs_type=spec.Outputs,
    parts=planner.parts,
    plan=planner.plan,
    predict=planner.predict,
    outputs=planner.outputs,
    drivers={"compose": _compose, "memory": _memory},
    check=planner.check,
    known=planner.known,
    data=planner.data,
    surveyor=planner.surveyor,
    prune_parts=True,
)
