"""How a lab follows git on this machine. Kept here, not in the lab: a push cannot change it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lab.errors import LabError
from lab.gitops.git import check_branch, check_url
from lab.gitops.places import check_address, check_place
from lab.model.units import Duration

FILE = "settings.json"


class Mode(StrEnum):
    """What is done with a pushed commit whose plan is not empty."""

    PLAN = "plan"  # shown, never applied
    ASK = "ask"  # waits for `lab approve`
    APPLY = "apply"  # applied, unless something would be lost


class Forge(BaseModel):
    """Where the status of a commit is posted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["forgejo", "gitea", "github", "gitlab"]
    url: str
    repository: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)+$")
    token: str = Field(description="secret:NAME, env:NAME or file:PATH")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        return _http(url)

    @field_validator("token")
    @classmethod
    def _place(cls, value: str) -> str:
        return check_place(value)


class Settings(BaseModel):
    """The answers that ``lab gitops install`` was given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    repository: str
    url: str | None = Field(None, description="polled; None: the repository is pushed to")
    branch: str = "main"
    mode: Mode = Mode.APPLY
    every: Duration = 60
    webhook: str | None = Field(None, description="ADDRESS:PORT of this machine")
    webhook_secret: str | None = Field(None, description="secret:NAME, env:NAME or file:PATH")
    signers: str | None = None
    colored: bool = False
    notify: tuple[str, ...] = ()
    forge: Forge | None = None

    @field_validator("branch")
    @classmethod
    def _branch(cls, name: str) -> str:
        return check_branch(name)

    @field_validator("url")
    @classmethod
    def _url(cls, url: str | None) -> str | None:
        return None if url is None else check_url(url)

    @field_validator("webhook_secret")
    @classmethod
    def _place(cls, value: str | None) -> str | None:
        return None if value is None else check_place(value)

    @field_validator("notify")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(check_address, value))

    @field_validator("webhook")
    @classmethod
    def _listens(cls, value: str | None) -> str | None:
        if value is not None:
            address, _, port = value.rpartition(":")
            if not address or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004
                raise ValueError(f"{value!r}: write ADDRESS:PORT, like 127.0.0.1:2750")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.webhook and not self.webhook_secret:
            raise ValueError("a webhook needs a secret: --webhook-secret secret:NAME")
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets of the lab that are used here, by their names."""
        places = [*self.notify, self.webhook_secret or "", self.forge.token if self.forge else ""]
        return tuple(p.removeprefix("secret:") for p in places if p.startswith("secret:"))

    @classmethod
    def read(cls, folder: Path, lab: str) -> Settings:
        """What is kept in that folder. Raises LabError where there is nothing, or no sense."""
        path = folder / FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise LabError(
                f"Unable to follow git: nothing was installed for the lab {lab} on this machine.",
                hint="lab gitops install --repository DIR",
            ) from None
        except OSError as error:
            raise LabError(f"Unable to read {path}: {error.strerror}.") from error
        except ValidationError as error:
            raise LabError(
                f"Unable to use {path}: {'; '.join(plain_words(error))}.",
                hint="lab gitops install, again",
            ) from error

    def write(self, folder: Path) -> None:
        """Keep it, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = folder / f".{FILE}.new"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(self.model_dump_json(indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / FILE)


def plain_words(error: ValidationError) -> Sequence[str]:
    """What is wrong, without pydantic's own words around it."""
    return [
        f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}"
        for e in error.errors()
    ]


def _http(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise ValueError(f"{url!r}: write https://HOST, without a login in it")
    return url.rstrip("/")
