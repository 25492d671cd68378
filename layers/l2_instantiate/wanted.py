"""Pure: the machine that a target asks for, as observing would find it."""

from __future__ import annotations

from typing import Literal

from lab.layer import Target
from layers.l2_instantiate.machines import ROOT, Container
from layers.l2_instantiate.spec import Inputs, Observed, ObservedDisk, Spec

Machine = Target[Spec, Inputs]
REPLACE_ON = frozenset({"template_name"})
"""What no backend can change under a running root disk."""

CONTAINER_REPLACE_ON = REPLACE_ON | {"mounts", "ports"}
"""What a container has for life."""


def desired(target: Machine) -> Observed:
    """What observing finds once nothing is left to do."""
    machine = target.spec.machine
    return Observed(
        power="running",
        accelerator=accelerator(target),
        template_name=template_name(target),
        cpu=machine.cpu,
        memory=machine.memory,
        disks={n: ObservedDisk(size=d.size, durable=d.durable) for n, d in machine.disks.items()},
        attached=extra_disks(target.spec),
        mounts=mount_lines(target.spec),
        isolated=target.spec.isolated,
        root_at_boot=machine.disks[ROOT].size,
        ports=port_lines(target.spec),
        user=machine.login.user,
        authorized_keys=machine.login.key_lines,
        port=22,
        host_key="ssh-ed25519 AAAA",
        identity_file="",
    )


def template_name(target: Machine) -> str | None:
    """What it is made from: the layer below's, or a container's own."""
    machine = target.spec.machine
    return machine.template if isinstance(machine, Container) else target.inputs.template_name


def extra_disks(spec: Spec) -> tuple[str, ...]:
    """The declared disks besides root, sorted."""
    return tuple(sorted(n for n in spec.machine.disks if n != ROOT))


def mount_lines(spec: Spec) -> tuple[str, ...]:
    """Where a container has its disks, sorted; nothing for a machine that mounts them itself."""
    if spec.engine is None:
        return ()
    disks = spec.machine.disks
    return tuple(f"{name} at {disks[name].mount}" for name in extra_disks(spec))


def port_lines(spec: Spec) -> tuple[str, ...]:
    """The declared forwards in long form, sorted; none where it has an address of its own."""
    if spec.proxmox is not None:
        return ()
    return tuple(str(p) for p in sorted(spec.machine.ports))


def accelerator(target: Machine) -> Literal["kvm", "tcg"]:
    """The provider's choice, else what was found usable."""
    wanted = target.spec.accelerator
    return (target.inputs.accelerator or "tcg") if wanted == "auto" else wanted
