"""What other tools carry out: ``roles``, ``playbooks`` (Ansible), ``deploys`` (pyinfra)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from lab.model.later import later
from lab.model.units import Duration
from layers.l3_system.spec.types import Declared, Part

if TYPE_CHECKING:
    from layers.l3_system.spec.handed_over import Deploy, Playbook, Role
else:
    Deploy = later("layers.l3_system.spec.handed_over:Deploy")
    Playbook = later("layers.l3_system.spec.handed_over:Playbook")
    Role = later("layers.l3_system.spec.handed_over:Role")


class AnsibleOptions(Declared):
    """How Ansible runs."""

    strategy: Literal["linear", "mitogen"] = "linear"
    deadline: Duration = Field(default=1800, description="the longest one run may take")


class Tools(Part):
    """The keys of ``system`` that are handed to another tool, after everything else."""

    roles: tuple[Role, ...] = ()
    playbooks: tuple[Playbook, ...] = ()
    deploys: tuple[Deploy, ...] = ()
    ansible: AnsibleOptions = AnsibleOptions()
