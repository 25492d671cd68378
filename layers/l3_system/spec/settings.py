"""``hostname``, ``timezone``, ``locale``, ``mounts``, ``swap``, ``sysctl``, ``kernel_modules``.

And the disks of the machine that are mounted.
"""

from __future__ import annotations

import re
import zoneinfo
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from lab.model.units import Size
from layers.l3_system.spec.types import (
    HOSTNAME,
    Declared,
    MountPath,
    MountPoint,
    Part,
    SysctlKey,
    Word,
    empty_for_null,
    no_duplicates,
    shape,
    sysctl_value,
)

BUILT_IN_LOCALES = ("C", "C.UTF-8", "POSIX")
_LOCALE = re.compile(r"^[a-z]{2,3}_[A-Z]{2}\.UTF-8$")
_MODULE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]*$")


def _source(value: str) -> str:
    if not value.strip() or not value.isprintable() or "\\" in value:
        raise ValueError(f"{value!r} is nothing that can be mounted")
    return value


def _optional(value: str) -> str:
    """A source that is not there must not stop the boot."""
    return value if {"nofail", "noauto"} & set(value.split(",")) else f"{value},nofail"


def _zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = zoneinfo.available_timezones()
        if not known and re.match(r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", value):
            return value  # no zones are known here: the host will tell
        near = get_close_matches(value, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ": write it like Europe/Berlin"
        raise ValueError(f"{value!r} is not a time zone{hint}") from error
    return value


def _locale(value: str) -> str:
    if value not in BUILT_IN_LOCALES and not _LOCALE.match(value):
        raise ValueError(f"{value!r} is not a locale: write it like en_US.UTF-8")
    return value


def _module(value: str) -> str:
    if not _MODULE.match(value):
        raise ValueError(f"{value!r} is not a kernel module's name: letters, digits, _ and -")
    return value.replace("-", "_")


def _parameter(value: Any) -> str:
    if isinstance(value, bool) or not re.match(r"^[!-~]+$", str(value)):
        raise ValueError("a parameter is one word or number: write Y, N, 1 or 0 for a switch")
    return str(value)


LocaleName = Annotated[str, AfterValidator(_locale)]
Module = Annotated[str, AfterValidator(_module)]
Parameters = dict[
    Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")], Annotated[str, BeforeValidator(_parameter)]
]


class Mount(Declared):
    """Something mounted now and at every boot."""

    source: Annotated[str, AfterValidator(_source)]
    type: Word = "auto"
    options: Annotated[Word, AfterValidator(_optional)] = Field(
        default="defaults,nofail",
        description="nofail is added: a source that is not there must not stop the boot",
    )


class Filesystem(Declared):
    """A disk of the machine that is mounted: ``machine.disks.<name>`` with ``mount``.

    ``size`` is the disk's; ``None`` where L2 will say what is wrong with it.
    """

    mount: MountPath
    size: Size | None = None


class Swap(Declared):
    """A file to swap to; ``/swapfile: 1GiB`` is short for ``/swapfile: {size: 1GiB}``."""

    size: Size

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {"size": value}


class Locale(Declared):
    """Language and formats. ``locale: en_US.UTF-8`` is short for ``{default: en_US.UTF-8}``."""

    default: LocaleName | None = None
    generate: tuple[LocaleName, ...] = Field(default=(), description="more than the default")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"default": value} if isinstance(value, str) else value

    @property
    def generated(self) -> tuple[str, ...]:
        """Those that the system does not bring by itself, each once."""
        named = dict.fromkeys([*([self.default] if self.default else []), *self.generate])
        return tuple(name for name in named if name not in BUILT_IN_LOCALES)


KernelModules = Annotated[
    Annotated[tuple[Module, ...], AfterValidator(no_duplicates), Tag("list")]
    | Annotated[
        dict[Module, Annotated[Parameters, BeforeValidator(empty_for_null)]], Tag("mapping")
    ],
    Discriminator(shape),
]


class Settings(Part):
    """The keys of ``system`` about the host itself and its kernel."""

    hostname: str | None = Field(default=None, description="default: the host's name")
    timezone: Annotated[str, AfterValidator(_zone)] | None = None
    locale: Locale | None = None
    mounts: dict[MountPoint, Mount] = {}
    swap: dict[MountPath, Swap] = {}
    sysctl: dict[SysctlKey, Annotated[str, BeforeValidator(sysctl_value)]] = {}
    kernel_modules: KernelModules = ()

    @field_validator("hostname")
    @classmethod
    def _valid_hostname(cls, value: str | None) -> str | None:
        if value is not None and not HOSTNAME.match(value):
            raise ValueError(f"{value!r} is not a hostname: a-z, 0-9, hyphens and dots")
        return value

    @property
    def modules(self) -> dict[str, dict[str, str]]:
        """``kernel_modules`` with their parameters, however they were written."""
        if isinstance(self.kernel_modules, dict):
            return self.kernel_modules
        return {name: {} for name in self.kernel_modules}
