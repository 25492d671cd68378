"""What went wrong with Ansible, in words, with the place and the next command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.errors import DriverError, TransportError
from lab.masking import mask
from layers.l3_system.drivers.ansible.job import AnsibleTarget
from layers.l3_system.drivers.ansible.results import Failure


def failed(root: Path, target: AnsibleTarget, failure: Failure, verb: str) -> DriverError:
    """A task failed, or the host was gone."""
    host = target.host.name
    if failure.gone:
        return TransportError(
            f"Unable to {verb} {failure.name} on {host}: the connection is gone: {failure.said}.",
            hint=f"lab plan l3 host={host}",
        )
    where = failure.path.removeprefix(f"{root}/") or "the role"
    return DriverError(
        f"Unable to {verb} {failure.name} on {host}: {failure.said}.",
        hint=f"it stands in {where}; to look around: lab ssh {host}; "
        f"then: lab converge l3 host={host}",
        lines=failure.lines,
    )


def broken(target: AnsibleTarget, doing: str, output: Sequence[str]) -> DriverError:
    """Ansible gave up before it began: mistakes in a role or a playbook, mostly."""
    lines = [mask(line.rstrip()) for line in output if line.strip()]
    errors = [line for line in lines if line.startswith(("[ERROR]:", "ERROR!"))]
    origin = next((line for line in lines if line.startswith("Origin:")), "")
    said = errors[-1].split(":", 1)[-1].removeprefix("ERROR!").strip() if errors else ""
    where = origin.removeprefix("Origin:").strip()
    return DriverError(
        f"Unable to {doing}: {(said or 'Ansible ended before it began').rstrip('.')}"
        f"{f' ({where})' if where else ''}.",
        hint=f"mend it, then: lab plan l3 host={target.host.name}",
        lines=lines[-20:],
    )


def not_for(target: AnsibleTarget, doing: str) -> DriverError:
    """A playbook that has nothing to do with the host."""
    host = target.host
    groups = ", ".join(sorted({host.persona, host.provider, *host.tags}))
    return DriverError(
        f"Unable to {doing}: none of its plays is for {host.name}.",
        hint=f"'hosts: all', or one of the host's groups: {groups}",
    )
