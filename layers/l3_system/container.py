"""What a container leaves to the machine that it runs on: the kernel is everybody's. Pure."""

from __future__ import annotations

import re

from layers.l3_system.spec import Spec, System

# Each container has these for itself (ipc, network and UTS namespaces).
_OWN = re.compile(r"net\.|fs\.mqueue\.|kernel\.(hostname|domainname|sem|msg|shm)")


def without_kernel(system: System) -> System:
    """The section without what is the whole kernel's: swap and modules."""
    return system.model_copy(update={"swap": {}, "kernel_modules": ()})


def own(spec: Spec, declared: System) -> Spec:
    """What of it a container can have, and the names of what it cannot."""
    kept = {key: value for key, value in spec.sysctl.items() if _OWN.match(key)}
    settings = (key for key in spec.sysctl if key not in kept)
    modules = (f"module {name}" for name in declared.modules)
    left_out = (*settings, *declared.swap, *modules)
    return spec.model_copy(update={"sysctl": kept, "left_out": left_out})


def note(host: str, left_out: tuple[str, ...]) -> tuple[str, ...]:
    """A line about what is left out, if anything is."""
    if not left_out:
        return ()
    what = "are left out: they are" if len(left_out) > 1 else "is left out: it is"
    return (f"{', '.join(left_out)} on {host} {what} this machine's, and a container shares it",)
