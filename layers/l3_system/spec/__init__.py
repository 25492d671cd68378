"""What an operating system is to be, what is needed from below, what was found, what goes up.

One module a subject, each with the part of ``system:`` it owns; :class:`System` is all of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, field_validator

from lab.model.baseline import Baseline
from lab.model.secret import Secret
from lab.model.units import parse_size
from layers.l3_system.spec.accounts import Accounts, Group, User
from layers.l3_system.spec.connection import Connection
from layers.l3_system.spec.files import Directory, Files, FileSpec
from layers.l3_system.spec.services import Service, Services
from layers.l3_system.spec.settings import Filesystem, Mount, Settings
from layers.l3_system.spec.software import Software
from layers.l3_system.spec.tools import Tools
from layers.l3_system.spec.types import empty_for_null, unit_name


class System(Settings, Accounts, Software, Files, Services, Connection, Tools):
    """The section ``system`` of a persona."""


class Spec(System):
    """Everything native converges on one host; ``left_out`` is what a container cannot have."""

    filesystems: dict[str, Filesystem] = {}
    forwarded: bool = Field(default=False, description="a port of ours leads to its port 22")
    left_out: tuple[str, ...] = ()


def _none_or_section(value: Any) -> Any:
    return None if value == "none" else empty_for_null(value)


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Provider(_Lenient):
    """Of the provider only the kind matters here."""

    kind: str = ""


def _size_or_none(value: Any) -> Any:
    try:
        parse_size(value)
    except ValueError:
        return None
    return value


class Machine(_Lenient):
    """Of the machine only disks that are mounted: L2 validates the rest, and tells of mistakes."""

    disks: dict[str, Filesystem] = {}

    @field_validator("disks", mode="before")
    @classmethod
    def _mounted(cls, disks: Any) -> Any:
        items = disks.items() if isinstance(disks, dict) else ()
        return {
            str(name): {"mount": disk["mount"], "size": _size_or_none(disk.get("size"))}
            for name, disk in items
            if name != "root" and isinstance(disk, dict) and isinstance(disk.get("mount"), str)
        }


class Document(_Lenient):
    """What this layer reads of a host's merged document. ``system: none`` is an appliance."""

    provider: Provider = Provider()
    machine: Annotated[Machine, BeforeValidator(empty_for_null)] = Machine()
    system: Annotated[System | None, BeforeValidator(_none_or_section)] = Field(
        default_factory=dict, validate_default=True
    )


class Inputs(BaseModel):
    """From below: how to reach the host, and what its image is like. ``None`` while predicted."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    address: str | None = None
    port: int | None = None
    user: str | None = None
    host_key: str | None = None
    identity_file: str | None = None
    sudo_password: InstanceOf[Secret] | None = None
    connection: Literal["ssh", "local"] = "ssh"
    baseline: Baseline | None = None


class Thing(BaseModel):
    """One thing as it was found: the attributes that are compared, and facts that only help."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: dict[str, Any] = {}
    facts: dict[str, Any] = {}


class Observed(BaseModel):
    """What was found: kind to name to thing (absent ones are left out), and our own record.

    ``owned`` is the ledger: a thing (``"user ops"``) to how it came to us (``"made"`` by us, or
    ``"found"`` and what it was like before). ``commit`` is what the host was last brought to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    things: dict[str, dict[str, Thing]] = {}
    owned: dict[str, str] = {}
    commit: str | None = None


class Outputs(BaseModel):
    """Handed up. ``wireguard`` maps a tunnel to the public key that its peers need."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hostname: str | None = None
    wireguard: dict[str, str] = {}


__all__ = [
    "Directory",
    "Document",
    "FileSpec",
    "Filesystem",
    "Group",
    "Inputs",
    "Mount",
    "Observed",
    "Outputs",
    "Service",
    "Spec",
    "System",
    "Thing",
    "User",
    "unit_name",
]
