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


def _existing(workspace: Workspace) -> Driver[spec.Spec, spec.Inputs, spec.Observed]:
    from layers.l2_instantiate.drivers.existing import ExistingDriver  # noqa: PLC0415 (lazy)

    return ExistingDriver(workspace)


def _terraform(workspace: Workspace) -> Driver[spec.Spec, spec.Inputs, spec.Observed]:
    from layers.l2_instantiate.drivers.terraform import TerraformDriver  # noqa: PLC0415 (lazy)

    return TerraformDriver(workspace)


LAYER = Layer(
    name="l2_instantiate",
    title="machine",
    sections=("machine", "existing"),
    document=spec.Document,
    spec=spec.Spec,
    inputs=spec.Inputs,
    outputs_type=spec.Outputs,
    parts=planner.parts,
    plan=planner.plan,
    predict=planner.predict,
    outputs=planner.outputs,
    drivers={
        "docker": _docker,
        "existing": _existing,
        "memory": _memory,
        "qemu": _qemu,
        "terraform": _terraform,
    },
    claims=planner.claims,
    check=planner.check,
    known=planner.known,
    destroyed=True,
)
