"""``accepted.yaml``: what may be on a machine undeclared, and why."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lab.model.host import Host
from lab.model.undeclared import Sort, Undeclared


def _reason(value: str) -> str:
    if not value.strip():
        raise ValueError("say why: without a reason nobody will know later whether it still holds")
    return value.strip()


def _name(value: str) -> str:
    if not value.strip():
        raise ValueError("name what is accepted; * stands for anything")
    return value


class AcceptedEntry(BaseModel):
    """One thing, or all that a pattern matches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Sort = Field(description="what sort of thing it is")
    name: Annotated[str, AfterValidator(_name)] = Field(
        description="as lab entropy shows it; * and ? stand for anything"
    )
    reason: Annotated[str, AfterValidator(_reason)] = Field(description="why that is fine")
    host: str | None = Field(None, description="only on this host")
    persona: str | None = Field(None, description="only on hosts of this persona")


class AcceptedFile(BaseModel):
    """The file: in the lab's root for all hosts, or beside a persona's files for its hosts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accepted: tuple[AcceptedEntry, ...] = ()


class Acceptance(BaseModel):
    """An entry, where it stands, and whom it is about.

    ``personas`` are those it holds for (with those that build on them); ``None`` = all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Sort
    name: str
    reason: str
    where: str
    host: str | None = None
    personas: frozenset[str] | None = None

    def is_about(self, host: Host) -> bool:
        """Whether it can accept anything on that host."""
        return self.host in {None, host.name} and (
            self.personas is None or host.persona in self.personas
        )

    def matches(self, thing: Undeclared) -> bool:
        """Whether it accepts that thing."""
        return self.kind is thing.sort and fnmatchcase(thing.name, self.name)
