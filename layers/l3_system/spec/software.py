"""``packages``, ``repositories`` and what else concerns the software of a host."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from lab.model.files import File, LabFile
from layers.l3_system.spec.package import Package, Packages
from layers.l3_system.spec.repository import Repository, RepositoryName
from layers.l3_system.spec.types import Declared, PackageName, Part

_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_MAIL = re.compile(r"[^\s@\"']+(@[^\s@\"']+)?")
_ORIGIN = re.compile(r"[^\s\"'\\](?:[^\"'\\\n]*[^\s\"'\\])?")
_LISTEN = re.compile(r"([A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\]):\d{1,5}")
_COLLECTOR = re.compile(r"[a-z0-9_]+")
_ARGUMENT = re.compile(r"[^\s\"'\\$`]+")
_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\s+(.*?)-----END CERTIFICATE-----", re.DOTALL
)
_NAME = re.compile(r"[A-Za-z0-9_-]+")


def _on(value: Any) -> Any:
    """``true`` is the thing with all its defaults, ``false`` is none."""
    return {} if value is True else None if value is False else value


def certificate(content: bytes) -> bytes:
    """The one certificate of a PEM file, as DER. Raises ValueError in plain words."""
    found = _CERTIFICATE.findall(content.decode("ascii", errors="replace"))
    if len(found) != 1:
        raise ValueError(f"it holds {len(found) or 'no'} certificates: one a file, as PEM")
    try:
        return base64.b64decode("".join(found[0].split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"its certificate is damaged: {error}") from error


def _authority(file: LabFile) -> LabFile:
    if b"PRIVATE KEY" in file.content:
        raise ValueError(f"{file.path} holds a private key: only the certificate belongs here")
    if file.content:  # without a context (read back from the ledger) there is none
        try:
            certificate(file.content)
        except ValueError as error:
            raise ValueError(f"{file.path}: {error}") from error
    return file


def _authority_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a name: letters, digits, _ and -")
    return value


class UnattendedUpgrades(Declared):
    """Security updates install themselves, daily."""

    origins: tuple[str, ...] = Field(
        default=(), description="from where, instead of the distribution's security updates"
    )
    reboot: Annotated[str, Field(examples=["04:00"])] | bool = Field(
        default=False, description="when an update needs it: at this time of the day, or at once"
    )
    mail: str | None = Field(default=None, description="who is told")

    @field_validator("origins")
    @classmethod
    def _plain_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin) or not set("=:") & set(origin):
                raise ValueError(
                    f"{origin!r} is not an origin: write it like origin=Debian,label=Debian"
                    " or Debian:stable"
                )
        return origins

    @field_validator("reboot")
    @classmethod
    def _time(cls, reboot: str | bool) -> str | bool:  # noqa: FBT001 (a value, not a switch)
        if isinstance(reboot, str) and not _TIME.fullmatch(reboot):
            raise ValueError(f'{reboot!r} is not a time: write it like "04:00"')
        return reboot

    @field_validator("mail")
    @classmethod
    def _address(cls, mail: str | None) -> str | None:
        if mail is not None and not _MAIL.fullmatch(mail):
            raise ValueError(f"{mail!r} is not a mail address")
        return mail


class ContainerEngine(Declared):
    """Docker or Podman, with Compose; ``docker`` is short for ``{kind: docker}``."""

    kind: Literal["docker", "podman"]
    compose: bool = True
    packages: tuple[PackageName, ...] | None = Field(
        default=None, description="instead of those of Debian 13"
    )
    daemon: dict[str, Any] = Field(default={}, description="docker: /etc/docker/daemon.json")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_a_daemon(self) -> ContainerEngine:
        if self.daemon and self.kind == "podman":
            raise ValueError("podman has no daemon: declare its files under files")
        return self


class NodeExporter(Declared):
    """Metrics of the host for Prometheus."""

    listen: str | None = Field(default=None, description="default: :9100", examples=[":9100"])
    collectors: dict[str, bool] = Field(default={}, description="true: besides the default ones")
    args: tuple[str, ...] = Field(default=(), description="further options, as they are")

    @field_validator("listen")
    @classmethod
    def _address(cls, listen: str | None) -> str | None:
        if listen is not None and not _LISTEN.fullmatch(listen):
            raise ValueError(f"{listen!r} is not an address: write it like :9100 or 127.0.0.1:9100")
        return listen

    @field_validator("collectors", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        names = dict.fromkeys(value, True) if isinstance(value, (list, tuple)) else value
        for name in names if isinstance(names, dict) else ():
            if not isinstance(name, str) or not _COLLECTOR.fullmatch(name):
                raise ValueError(f"{name!r} is not a collector: write it like systemd")
        return names

    @field_validator("args")
    @classmethod
    def _plain(cls, args: tuple[str, ...]) -> tuple[str, ...]:
        for arg in args:
            if not _ARGUMENT.fullmatch(arg):
                raise ValueError(f"{arg!r}: an option here has no blanks, quotes, $ or backslashes")
        return args


class Software(Part):
    """The keys of ``system`` about what is installed."""

    packages: Packages = {}
    repositories: dict[RepositoryName, Repository] = {}
    certificate_authorities: dict[
        Annotated[str, AfterValidator(_authority_name)], Annotated[File, AfterValidator(_authority)]
    ] = {}
    unattended_upgrades: Annotated[UnattendedUpgrades | None, BeforeValidator(_on)] = None
    container_engine: ContainerEngine | None = None
    node_exporter: Annotated[NodeExporter | None, BeforeValidator(_on)] = None


__all__ = ["Package", "Repository", "Software", "certificate"]
