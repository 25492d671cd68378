"""What an operating system is to be, what is needed from below, what was found, what goes up."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from lab.model.baseline import Baseline
from lab.model.files import File, LabFile
from lab.model.units import Size, parse_size

_USER = re.compile(r"^[a-z_][a-z0-9_-]{0,31}$")
_PACKAGE = re.compile(r"^[a-z0-9][a-z0-9+.-]+$")
_UNIT = re.compile(r"^[A-Za-z0-9:_.@-]+$")
_UNIT_TYPES = (".service", ".socket", ".timer", ".path", ".target", ".mount")
_SYSCTL = re.compile(r"^[a-z0-9_]+(\.[A-Za-z0-9_@-]+)+$")
_HOSTNAME = re.compile(r"^[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?$")
_MODE = re.compile(r"^0?[0-7]{3,4}$")


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _mode(value: Any) -> str:
    if isinstance(value, int):
        raise ValueError('a mode is written in quotes: "0644"')  # noqa: TRY004 (pydantic's kind)
    if not isinstance(value, str) or not _MODE.match(value):
        raise ValueError(f'{value!r} is not a mode: write it like "0644"')
    return value.rjust(4, "0")[-4:]


def _path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f"{value!r} is not absolute: write it with a leading /")
    if any(ord(c) < 32 or c in "\\\x7f" for c in value):  # noqa: PLR2004 (control characters)
        raise ValueError(f"{value!r} holds a control character or a backslash")
    if value != "/" and (value.endswith("/") or "//" in value):
        raise ValueError(f"{value!r} has a slash too many")
    if {".", ".."} & set(value.split("/")):
        raise ValueError(f"{value!r} goes through . or ..: write where it leads")
    return value


def _account(value: str) -> str:
    if not _USER.match(value):
        raise ValueError(f"{value!r} is not a user's or group's name: a-z, 0-9, _ and -")
    return value


def _mount_path(value: str) -> str:
    if any(c.isspace() for c in value):
        raise ValueError(f"{value!r}: a mount point has no blanks")
    if _path(value) == "/":
        raise ValueError("/ is mounted by the machine itself")
    return value


def _package(value: str) -> str:
    if not _PACKAGE.match(value):
        raise ValueError(f"{value!r} is not a package's name: a-z, 0-9, + . and -")
    return value


def _unit(value: str) -> str:
    if not _UNIT.match(value):
        raise ValueError(f"{value!r} is not a service's name")
    return value


def _sysctl_key(value: str) -> str:
    if not _SYSCTL.match(value):
        raise ValueError(f"{value!r} is not a kernel setting: write it like vm.swappiness")
    return value


def _sysctl_value(value: Any) -> str:
    if isinstance(value, bool):
        raise ValueError("write 1 or 0")  # noqa: TRY004
    text = " ".join(str(value).split()) if isinstance(value, (str, int)) else ""
    if not text or "'" in text or not text.isprintable():
        raise ValueError(f"{value!r} is not a value of a kernel setting")
    return text


def _plain(value: str) -> str:
    if not value.isprintable() or ":" in value:
        raise ValueError(f"{value!r} may hold neither ':' nor a line's end")
    return value


Mode = Annotated[str, BeforeValidator(_mode)]
Path = Annotated[str, AfterValidator(_path)]
Account = Annotated[str, AfterValidator(_account)]
MountPath = Annotated[str, AfterValidator(_mount_path)]
Word = Annotated[str, Field(pattern=r"^\S+$")]


class User(_Declared):
    """A user. What is left out is the system's default for a new one, and kept for an old one.

    Groups and keys that somebody else gave the user are left alone.
    """

    uid: int | None = Field(default=None, ge=0, lt=2**32 - 1)
    comment: Annotated[str, AfterValidator(_plain)] | None = None
    home: Path | None = None
    shell: Path | None = None
    groups: tuple[Account, ...] = Field(default=(), description="besides the user's own")
    authorized_keys: tuple[File, ...] = Field(default=(), description="files of public keys")

    @field_validator("authorized_keys")
    @classmethod
    def _public(cls, keys: tuple[LabFile, ...]) -> tuple[LabFile, ...]:
        for key in keys:
            if b"PRIVATE KEY" in key.content:
                raise ValueError(f"{key.path} is a private key: name the .pub file beside it")
        return keys


class Group(_Declared):
    """A group."""

    gid: int | None = Field(default=None, ge=0, lt=2**32 - 1)


class FileSpec(_Declared):
    """A file: its content stands here, or in a file of the lab, as it is or as a template."""

    content: str | None = None
    template: File | None = Field(default=None, description="a Jinja2 template of the lab")
    source: File | None = Field(default=None, description="a file of the lab, taken as it is")
    mode: Mode = "0644"
    owner: Account = "root"
    group: Account = "root"

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [n for n in ("content", "template", "source") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of content, template and source")
        return self


class Directory(_Declared):
    """A directory; what lies in it is left alone."""

    mode: Mode = "0755"
    owner: Account = "root"
    group: Account = "root"


class Service(_Declared):
    """A unit of systemd; ``docker: running`` is short for ``docker: {state: running}``."""

    state: Literal["running", "stopped"]
    enabled: bool | None = Field(default=None, description="at boot; default: if it is to run")
    restart_on: tuple[Path, ...] = Field(
        default=(), description="files declared here whose change restarts it"
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"state": value} if isinstance(value, str) else value


class Mount(_Declared):
    """Something mounted now and at every boot."""

    source: Word
    type: Word = "auto"
    options: Word = "defaults,nofail"


class Filesystem(_Declared):
    """A disk of the machine that is mounted: ``machine.disks.<name>`` with ``mount``.

    ``size`` is the disk's; ``None`` where L2 will say what is wrong with it.
    """

    mount: MountPath
    size: Size | None = None


def _empty_for_null(value: Any) -> Any:
    return {} if value is None else value


class System(_Declared):
    """The section ``system`` of a persona."""

    hostname: str | None = Field(default=None, description="default: the host's name")
    users: dict[Account, User] = {}
    groups: dict[Account, Annotated[Group, BeforeValidator(_empty_for_null)]] = {}
    packages: tuple[Annotated[str, AfterValidator(_package)], ...] = ()
    files: dict[Path, FileSpec] = {}
    directories: dict[Path, Annotated[Directory, BeforeValidator(_empty_for_null)]] = {}
    services: dict[Annotated[str, AfterValidator(_unit)], Service] = {}
    mounts: dict[MountPath, Mount] = {}
    sysctl: dict[
        Annotated[str, AfterValidator(_sysctl_key)],
        Annotated[str, BeforeValidator(_sysctl_value)],
    ] = {}

    @field_validator("hostname")
    @classmethod
    def _valid_hostname(cls, value: str | None) -> str | None:
        if value is not None and not _HOSTNAME.match(value):
            raise ValueError(f"{value!r} is not a hostname: a-z, 0-9, hyphens and dots")
        return value


class Spec(System):
    """Everything native converges on one host."""

    filesystems: dict[str, Filesystem] = {}


def unit_name(name: str) -> str:
    """``docker`` is ``docker.service``; other unit types are written out."""
    return name if name.endswith(_UNIT_TYPES) else f"{name}.service"


def _none_or_section(value: Any) -> Any:
    return None if value == "none" else _empty_for_null(value)


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
    machine: Annotated[Machine, BeforeValidator(_empty_for_null)] = Machine()
    system: Annotated[System | None, BeforeValidator(_none_or_section)] = System()


class Inputs(BaseModel):
    """From below: how to reach the host, and what its image is like. ``None`` while predicted."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    address: str | None = None
    port: int | None = None
    user: str | None = None
    host_key: str | None = None
    identity_file: str | None = None
    baseline: Baseline | None = None


class Thing(BaseModel):
    """One thing as it was found: the attributes that are compared, and facts that only help."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: dict[str, Any] = {}
    facts: dict[str, Any] = {}


class Observed(BaseModel):
    """What was found: kind to name to thing (absent ones are left out), and our own record.

    ``owned`` is the ledger: a thing (``"user ops"``) to how it came to us (``"made"`` by us, or
    ``"found"`` and what it was like before).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    things: dict[str, dict[str, Thing]] = {}
    owned: dict[str, str] = {}


class Outputs(BaseModel):
    """Handed up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hostname: str | None = None
