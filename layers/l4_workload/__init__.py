"""L4: are the workloads deployed and healthy? Wiring only; drivers are imported when first used."""

from __future__ import annotations

from typing import Any

from lab.layer import Driver, Layer, Workspace
from layers.l4_workload import planner
from layers.l4_workload.spec import Document, Inputs, Outputs, Workload


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
    document=Document,
    spec=Workload,
    inputs=Inputs,
    outputs_type=Outputs,
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
