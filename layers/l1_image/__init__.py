"""L1: is there a template to build from? Wiring only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.layer import Driver, Layer, Workspace
from lab.lazy import Later

if TYPE_CHECKING:
    from layers.l1_image import planner, spec
else:
    planner = Later("layers.l1_image.planner")
    spec = Later("layers.l1_image.spec")


def _debian(workspace: Workspace) -> Driver[Any, Any, Any]:
    from layers.l1_image.drivers.debian.driver import DebianDriver  # noqa: PLC0415 (lazy)

    return DebianDriver(workspace)


def _container(workspace: Workspace) -> Driver[Any, Any, Any]:
    from layers.l1_image.drivers.container.driver import ContainerDriver  # noqa: PLC0415 (lazy)

    return ContainerDriver(workspace)


def _proxmox_template(workspace: Workspace) -> Driver[Any, Any, Any]:
    from layers.l1_image.drivers.proxmox_template.driver import (  # noqa: PLC0415 (lazy)
        ProxmoxTemplateDriver,
    )

    return ProxmoxTemplateDriver(workspace)


def _memory(workspace: Workspace) -> Driver[Any, Any, Any]:
    from layers.l1_image.drivers.memory import MemoryDriver  # noqa: PLC0415 (lazy)

    return MemoryDriver(workspace)


LAYER = Layer(
    name="l1_image",
    title="template",
    sections=("image",),
    optional=True,
    document=spec.Document,
    spec=spec.Spec,
    inputs=spec.Inputs,
    outputs_type=spec.Outputs,
    parts=planner.parts,
    plan=planner.plan,
    known=planner.known,
    predict=planner.predict,
    outputs=planner.outputs,
    drivers={
        "debian": _debian,
        "container": _container,
        "memory": _memory,
        "proxmox_template": _proxmox_template,
    },
    shared=planner.shared,
    check=planner.check,
)
