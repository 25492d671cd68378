"""Pure: machines that are there already. They are logged in to; never made, changed or removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.layer import Above, Prediction, Target
from lab.lazy import Lazy
from lab.model.host import Host
from lab.model.plan import Blocker, Plan
from layers.l2_instantiate.spec import Existing, Inputs, Observed, Outputs, Spec

if TYPE_CHECKING:
    from layers.l2_instantiate import steps
else:
    steps = Lazy("layers.l2_instantiate.steps")

Machine = Target[Spec, Inputs]

LOCAL = "local"
"""The address of the machine that Strata itself runs on."""


def desired() -> Observed:
    """What observing finds where the login works."""
    return Observed(power="running")


def plan(target: Machine, observed: Observed | None) -> Plan:
    """Never a change: it is as its owner has it. A machine that is not the one meant is refused."""
    if target.absent:
        note = f"{target.host.name} was there before this lab, and stays as it is"
        return Plan(notes=(note,))
    if observed is not None and observed.refused:
        return Plan(blockers=(Blocker(steps.MACHINE, observed.refused, observed.hint),))
    return Plan()


def predict(target: Machine, existing: Existing) -> Prediction:
    """It can be looked at now, and will be the same afterwards."""
    return Prediction(outputs(target, existing), Above.AS_IS)


def outputs(target: Machine, existing: Existing) -> Outputs:
    """How to log in to it, as declared."""
    address = (target.host.address or "").split("/")[0]
    return Outputs(
        address=address,
        port=existing.port,
        user=existing.user,
        host_key=existing.host_key,
        identity_file=existing.identity_file,
        connection="local" if address == LOCAL else "ssh",
        sudo_password=existing.sudo_password,
    )


def problems(host: Host, existing: Existing) -> tuple[tuple[tuple[str, ...], str], ...]:
    """What is missing, or has no meaning."""
    if host.address is None:
        what = "a machine that is there already needs its address: address: 192.0.2.9"
        return ((("provider",), what),)
    if host.address != LOCAL:
        return ()
    given = [
        name
        for name in ("host_key", "identity_file", "port", "user")
        if getattr(existing, name) != Existing.model_fields[name].default
    ]
    return tuple(
        (("existing", name), f"the machine that Strata runs on is not logged in to: no {name}")
        for name in given
    )
