"""L1: is there a template to build from? Wiring only."""

from __future__ import annotations

from typing import Any

from lab.layer import Driver, Layer, Workspace
from layers.l1_image import planner
from layers.l1_image.spec import Document, Inputs, Outputs, Spec


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
    document=Document,
    spec=Spec,
    inputs=Inputs,
    outputs_type=Outputs,
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
