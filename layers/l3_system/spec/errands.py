"""Errands: parts of the system that another tool carries out; and its dry run, the rehearsal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pydantic import BaseModel, ConfigDict

from layers.l3_system.spec.handed_over import Deploy, Handed, Playbook, Role
from layers.l3_system.spec.tools import AnsibleOptions
from layers.l3_system.spec.types import Declared


class Errand(Declared, ABC):
    """What one run of another tool is to do.

    ``python_comes``: Python is among the packages that are declared natively, so that it is there
    by the time the errand runs.
    """

    python_comes: bool = False

    @property
    @abstractmethod
    def pieces(self) -> tuple[tuple[str, Handed], ...]:
        """What it is made of, by the names it is planned with before the host can be seen."""

    @property
    def always_changes(self) -> dict[str, str]:
        """Steps that say "changed" at every run: why."""
        return {step: why for _, piece in self.pieces for step, why in piece.always_changes.items()}


class RolesErrand(Errand):
    """Roles of Ansible, one after the other in one run."""

    roles: tuple[Role, ...]
    options: AnsibleOptions = AnsibleOptions()

    @property
    def pieces(self) -> tuple[tuple[str, Handed], ...]:
        """One a role."""
        return tuple((f"role {role.role.name}", role) for role in self.roles)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tasks that run: those with one of these tags, or all."""
        return self.roles[0].tags


class PlaybookErrand(Errand):
    """A playbook of Ansible."""

    playbook: Playbook
    options: AnsibleOptions = AnsibleOptions()

    @property
    def pieces(self) -> tuple[tuple[str, Handed], ...]:
        """The playbook."""
        return ((f"playbook {self.playbook.playbook.main.path}", self.playbook),)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tasks that run: those with one of these tags, or all."""
        return self.playbook.tags


class DeployErrand(Errand):
    """A deploy of pyinfra."""

    deploy: Deploy

    @property
    def pieces(self) -> tuple[tuple[str, Handed], ...]:
        """The deploy."""
        return ((f"deploy {self.deploy.deploy.main.path}", self.deploy),)


class _Seen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Difference(_Seen):
    """One attribute that a step would change; ``text`` is a unified diff of whole files."""

    field: str
    before: Any = None
    after: Any = None
    text: str = ""
    secret: bool = False


class Step(_Seen):
    """One step that is not as it is to be, or of which a dry run cannot tell.

    Attributes:
        name: Unique in its errand: ``"task hardening: Set kernel options"``.
        bare: As its author wrote it: ``"Set kernel options"``.
        unseen: Why the dry run cannot tell; ``""``: it would change.
    """

    name: str
    bare: str
    differences: tuple[Difference, ...] = ()
    unseen: str = ""


class Rehearsal(_Seen):
    """What a tool's dry run found on the host, and what was recorded there.

    Attributes:
        steps: In the tool's order.
        stopped: The step that the dry run could not get past; ``""``: it got to the end. A real
            run may: a dry run lacks what the steps before would have made.
        why: What that step said.
        applied: The digest of the errand when it was last applied here whole; ``""`` = never.
        missing: What the host lacks for the tool to run on it (``"python3"``).
    """

    steps: tuple[Step, ...] = ()
    stopped: str = ""
    why: str = ""
    applied: str = ""
    missing: str = ""


class Nothing(_Seen):
    """Handed up by an errand."""
