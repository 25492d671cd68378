"""The words that every part of ``system:`` is written in: paths, modes, names."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

_USER = re.compile(r"^[a-z_][a-z0-9_-]{0,31}$")
_PACKAGE = re.compile(r"^[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?\Z")
UNIT = re.compile(r"^[A-Za-z0-9:_.@-]+$")
UNIT_TYPES = (
    ".service",
    ".socket",
    ".timer",
    ".path",
    ".target",
    ".mount",
    ".automount",
    ".swap",
    ".slice",
)
UNIT_FOLDER = "/etc/systemd/system/"
_SYSCTL = re.compile(r"^[a-z0-9_]+(\.[A-Za-z0-9_@-]+)+$")
HOSTNAME = re.compile(r"^[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?$")
DATABASE = "database"
_MODE = re.compile(r"^0?[0-7]{3,4}$")


class Declared(BaseModel):
    """What users write: nothing in it is ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(Declared):
    """Some of the keys of ``system``: only ever validated as parts of the whole."""

    model_config = ConfigDict(defer_build=True)


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


def _mount_point(value: str) -> str:
    if _path(value) == "/":
        raise ValueError("/ is mounted by the machine itself")
    return value


def _mount_path(value: str) -> str:
    if any(c.isspace() for c in value):
        raise ValueError(f"{value!r}: a path without blanks is expected here")
    return _mount_point(value)


def _package(value: str) -> str:
    if not _PACKAGE.match(value):
        raise ValueError(f"{value!r} is not a package's name: a-z, 0-9, + . and -")
    if value == DATABASE:
        raise ValueError(f"{value!r} is how plans call the host's own record of its packages")
    return value


def _unit(value: str) -> str:
    if not UNIT.match(value):
        raise ValueError(f"{value!r} is not a service's name")
    return value


def _sysctl_key(value: str) -> str:
    if not _SYSCTL.match(value):
        raise ValueError(f"{value!r} is not a kernel setting: write it like vm.swappiness")
    return value


def sysctl_value(value: Any) -> str:
    """One line of a kernel setting. Raises ValueError otherwise."""
    if isinstance(value, bool):
        raise ValueError("write 1 or 0")  # noqa: TRY004
    text = " ".join(str(value).split()) if isinstance(value, (str, int)) else ""
    if not text or "'" in text or not text.isprintable():
        raise ValueError(f"{value!r} is not a value of a kernel setting")
    return text


def plain(value: str) -> str:
    """What fits into a field of /etc/passwd. Raises ValueError otherwise."""
    if not value.isprintable() or ":" in value:
        raise ValueError(f"{value!r} may hold neither ':' nor a line's end")
    return value


Mode = Annotated[str, BeforeValidator(_mode)]
Path = Annotated[str, AfterValidator(_path)]
Account = Annotated[str, AfterValidator(_account)]
MountPath = Annotated[str, AfterValidator(_mount_path)]
MountPoint = Annotated[str, AfterValidator(_mount_point)]
Word = Annotated[str, Field(pattern=r"^\S+$")]
PackageName = Annotated[str, AfterValidator(_package)]
UnitName = Annotated[str, AfterValidator(_unit)]
SysctlKey = Annotated[str, AfterValidator(_sysctl_key)]


def shape(value: Any) -> str:
    """Which variant of a field that takes a list or a mapping is meant."""
    return "mapping" if isinstance(value, dict) else "list"


def empty_for_null(value: Any) -> Any:
    """``media:`` with nothing after it is a thing without attributes."""
    return {} if value is None else value


def unit_name(name: str) -> str:
    """``docker`` is ``docker.service``; other unit types are written out."""
    return name if name.endswith(UNIT_TYPES) else f"{name}.service"


def no_duplicates(names: tuple[str, ...]) -> tuple[str, ...]:
    """A list in which nothing stands twice. Raises ValueError otherwise."""
    twice = next((n for i, n in enumerate(names) if n in names[:i]), None)
    if twice is not None:
        raise ValueError(f"{twice} stands here twice")
    return names
