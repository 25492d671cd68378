"""L2: does this machine exist as declared? Wiring only; see README.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.layer import Layer
from layers.l2_instantiate import planner, spec

if TYPE_CHECKING:
    from lab.layer import Driver, Workspace


def _memory(workspace: Workspace) -> Driver[spec.Spec, spec.Inputs, spec.Observed]:
    from layers.l2_instantiate.drivers.memory import MemoryDriver  # noqa: PLC0415 (lazy)

    return MemoryDriver(workspace)


def _docker(workspace: Workspace) -> Driver[spec.Spec, spec.Inputs, spec.Observed]:
    from layers.l2_instantiate.drivers.docker import DockerDriver  # noqa: PLC0415 (lazy)

    return DockerDriver(workspace)


def _qemu(workspace: Workspace) -> Driver[spec.Spec, spec.Inputs, spec.Observed]:
    from layers.l2_instantiate.drivers.qemu import QemuDriver  # noqa: PLC0415 (lazy)

    return QemuDriver(workspace)


LAYER = Layer(
    name="l2_instantiate",
    title="machine",
    sections=("machine",),
    document=spec.Document,
    spec=spec.Spec,
    inputs=spec.Inputs,
    outputs_type=spec.Outputs,
    parts=planner.parts,
    plan=planner.plan,
    predict=planner.predict,
    outputs=planner.outputs,
    drivers={"docker": _docker, "memory": _memory, "qemu": _qemu},
    check=planner.check,
    claims=planner.claims,
    destroyed=True,
)
