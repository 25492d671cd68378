"""``hostname``, ``mounts`` and ``sysctl``; the disks of the machine that are mounted."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from lab.model.units import Size
from layers.l3_system.spec.types import (
    HOSTNAME,
    Declared,
    MountPath,
    SysctlKey,
    Word,
    sysctl_value,
)


class Mount(Declared):
    """Something mounted now and at every boot."""

    source: Word
    type: Word = "auto"
    options: Word = "defaults,nofail"


class Filesystem(Declared):
    """A disk of the machine that is mounted: ``machine.disks.<name>`` with ``mount``.

    ``size`` is the disk's; ``None`` where L2 will say what is wrong with it.
    """

    mount: MountPath
    size: Size | None = None


class Settings(Declared):
    """The keys of ``system`` about the host itself and its kernel."""

    hostname: str | None = Field(default=None, description="default: the host's name")
    mounts: dict[MountPath, Mount] = {}
    sysctl: dict[SysctlKey, Annotated[str, BeforeValidator(sysctl_value)]] = {}

    @field_validator("hostname")
    @classmethod
    def _valid_hostname(cls, value: str | None) -> str | None:
        if value is not None and not HOSTNAME.match(value):
            raise ValueError(f"{value!r} is not a hostname: a-z, 0-9, hyphens and dots")
        return value
