"""What the lab's own files say besides the layers' sections, as pydantic models."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lab.model.keep import Keep, Route
from lab.model.later import later
from lab.model.secret import SecretText, TextOrSecret, Vars
from lab.model.units import Duration

if TYPE_CHECKING:
    from lab.model.hooks import DeclaredData
else:
    DeclaredData = later("lab.model.hooks:DeclaredData")

NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
DNS_NAME = re.compile(rf"^(?=.{{1,253}}$)({_LABEL}\.)*(?!\d+$){_LABEL}$")
"""A name that can be looked up; its last word is no number, so that a mistyped address is none."""


def host_name(value: str) -> str:
    """A DNS label, because it becomes the hostname. Raises ValueError otherwise."""
    if not NAME.match(value):
        raise ValueError(
            f"{value!r} is not a name: lower-case letters, digits and inner hyphens, at most 63"
        )
    return value


Name = Annotated[str, AfterValidator(host_name)]


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


GRACE = 0.1
"""How much of its period a capture or drill may be late by: no timer is to the second."""


class Lifecycle(_Declared):
    """How often a host is captured and drilled, and what a rebuild may cost."""

    capture: Duration | None = None
    drill: Duration | None = None
    rto: Duration | None = Field(None, description="the longest a rebuild may take")
    rpo: Duration | None = Field(None, description="the most work that may be lost")
    keep: Keep = Keep()

    @property
    def oldest_capture(self) -> float | None:
        """Seconds that the newest good capture may be old; ``None``: no matter."""
        spans = [span for span in (self.capture, self.rpo) if span is not None]
        return min(spans) * (1 + GRACE) if spans else None


class Persona(_Declared):
    """The engine's own keys of a persona file; the layers own the others."""

    purpose: str = Field("", description="what hosts of this persona are for, in a sentence")
    extends: tuple[str, ...] = Field((), description="personas this one builds on, first to last")
    tags: tuple[Name, ...] = ()
    vars: Vars = Field({}, description="free values for templates")
    protect: bool = Field(False, description="nothing may be destroyed, whatever the flags say")
    lifecycle: Lifecycle = Lifecycle()
    data: dict[Name, DeclaredData] = Field({}, description="what must not be lost, and no workload")


class HostEntry(_Declared):
    """The engine's own keys of a host in the inventory; anything else overlays its persona."""

    persona: str
    provider: str
    address: str | None = Field(
        None,
        description="192.0.2.11/24; left out: the provider gives one; for a machine that is there "
        "already also a name, or local for this one",
    )
    after: tuple[str, ...] = Field((), description="hosts that are converged before this one")
    tags: tuple[Name, ...] = ()
    vars: Vars = {}
    protect: bool = False
    lifecycle: Lifecycle = Lifecycle()
    data: dict[Name, DeclaredData] = {}


class Overlaid(_Declared):
    """What a host has of these once its own entry has been laid over its persona."""

    lifecycle: Lifecycle = Lifecycle()
    data: dict[Name, DeclaredData] = {}


class RepositoryEntry(_Declared):
    """Where captures are kept: a restic repository."""

    kind: Literal["restic"] = "restic"
    url: TextOrSecret = Field(
        description="a path (a relative one lies below ~/.local/share/strata/LAB), sftp:, s3:, b2: "
        "or rest:"
    )
    password: SecretText
    environment: dict[str, TextOrSecret] = Field(
        {}, description="what the store wants: AWS_ACCESS_KEY_ID and the like"
    )


class CaptureEntry(_Declared):
    """``capture:`` of ``lab.yaml``."""

    repository: RepositoryEntry
    route: Route = Field(
        "pull",
        description="pull: a host needs nothing but tar, and learns no key; push: restic on the "
        "host sends only what is new; auto: push for sets of 4GiB and more, where it can be",
    )


class LabEntry(_Declared):
    """``lab.yaml``."""

    name: Name = Field(description="the lab's name; also the mark on everything it creates")
    providers: dict[Name, dict[str, Any]] = Field(
        description="where machines come from: a name and its kind"
    )
    capture: CaptureEntry | None = Field(None, description="where captures are kept")
    vars: Vars = Field({}, description="free values for every template")


class HostsFile(_Declared):
    """``inventory/*.yaml``."""

    hosts: dict[str, dict[str, Any]]
