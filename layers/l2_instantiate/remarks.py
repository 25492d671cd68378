"""Pure: what a plan remarks on a machine that stays as it is."""

from __future__ import annotations

from layers.l2_instantiate.spec import Observed
from layers.l2_instantiate.wanted import Machine, accelerator


def is_behind(target: Machine, observed: Observed) -> bool:
    """It lies, whole, on another template than the promoted one, and may stay there."""
    wanted = target.inputs.template_name
    whole = observed.template_name not in {None, "", wanted}
    return target.inputs.stays and whole and not target.renew


def behind(target: Machine, observed: Observed) -> tuple[str, ...]:
    """That it is, and what brings it forward."""
    if not is_behind(target, observed):
        return ()
    name, wanted = target.host.name, target.inputs.template_name
    lies = f"{name} was made from {observed.template_name}; new machines get {wanted}"
    return (f"{lies} (lab rebuild host={name})",)


def slow(target: Machine, observed: Observed) -> tuple[str, ...]:
    """It runs under software emulation where KVM would do."""
    better = accelerator(target) == "kvm" and observed.accelerator == "tcg"
    if observed.power != "running" or not better or target.spec.accelerator != "auto":
        return ()
    name = target.host.name
    return (f"{name} runs under software emulation; its next start tries KVM again",)
