"""L3: the operating system as declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.layer import Layer, Workspace
from layers.l3_system import planner
from layers.l3_system.spec import Document, Inputs, Outputs, Spec

if TYPE_CHECKING:
    from layers.l3_system.drivers.ansible.driver import AnsibleDriver
    from layers.l3_system.drivers.memory import MemoryDriver
    from layers.l3_system.drivers.native import NativeDriver
    from layers.l3_system.drivers.pyinfra.driver import PyinfraDriver


def _native(workspace: Workspace) -> NativeDriver:
    from layers.l3_system.drivers.native import NativeDriver  # noqa: PLC0415 (only when it is used)

    return NativeDriver(workspace)


def _memory(workspace: Workspace) -> MemoryDriver:
    from layers.l3_system.drivers.memory import MemoryDriver  # noqa: PLC0415 (same)

    return MemoryDriver(workspace)


def _pyinfra(workspace: Workspace) -> PyinfraDriver:
    from layers.l3_system.drivers.pyinfra.driver import PyinfraDriver  # noqa: PLC0415 (same)

    return PyinfraDriver(workspace)


def _ansible(workspace: Workspace) -> AnsibleDriver:
    from layers.l3_system.drivers.ansible.driver import AnsibleDriver  # noqa: PLC0415 (same)

    return AnsibleDriver(workspace)


LAYER = Layer(
    name="l3_system",
    title="system",
    sections=("system",),
    document=Document,
    spec=Spec,
    inputs=Inputs,
    outputs_type=Outputs,
    parts=planner.parts,
    plan=planner.plan,
    predict=planner.predict,
    outputs=planner.outputs,
    drivers={"native": _native, "ansible": _ansible, "pyinfra": _pyinfra, "memory": _memory},
    fresh=planner.fresh,
    check=planner.check,
    takes_vars=True,
    stacked=True,
)
