"""One entry of ``roles``, ``playbooks`` and ``deploys``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from lab.model.files import Project
from layers.l3_system.spec import handed
from layers.l3_system.spec.handed import NamedRole, Variables
from layers.l3_system.spec.types import Declared


class Handed(Declared):
    """What all three have: steps that are known to say "changed" at every run."""

    always_changes: dict[str, Annotated[str, Field(min_length=1)]] = Field(
        default={},
        description="steps that say 'changed' at every run, each with the reason: they run when "
        "something else changes, and when this is applied for the first time",
    )


class Role(Handed):
    """A role of Ansible; ``hardening`` is short for ``{role: hardening}``."""

    role: NamedRole
    vars: Variables = {}
    tags: tuple[str, ...] = Field(default=(), description="only its tasks with one of these tags")
    gather_facts: bool = True

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"role": value} if isinstance(value, str) else value


class Playbook(Handed):
    """A playbook of Ansible; ``site.yml`` is short for ``{playbook: site.yml}``."""

    playbook: Annotated[Project, AfterValidator(handed.playbook)]
    vars: Variables = {}
    tags: tuple[str, ...] = Field(default=(), description="only its tasks with one of these tags")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"playbook": value} if isinstance(value, str) else value


class Deploy(Handed):
    """A deploy of pyinfra; ``deploys/web.py`` is short for ``{deploy: deploys/web.py}``."""

    deploy: Annotated[Project, AfterValidator(handed.deploy)]
    data: Variables = Field(default={}, description="what the deploy reads as host.data")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"deploy": value} if isinstance(value, str) else value
