"""What an image is, in the persona's words, and the name that follows from it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from lab.model.baseline import Baseline
from lab.model.files import File, LabFile
from lab.model.provider import OTHER, variant
from lab.model.proxmox import LXC, Proxmox
from layers.l1_image.base import BaseField, Section

RECIPE = 1
"""Version of how images are made; raising it makes every template anew."""

CONTAINER_RECIPE = 1
"""The same for the images of containers."""

PROXMOX_RECIPE = 1
"""The same for the disks of Proxmox VE."""

CONTAINER = "container"
PROXMOX = "proxmox"
_RECIPES = {CONTAINER: CONTAINER_RECIPE, PROXMOX: PROXMOX_RECIPE, "": RECIPE}

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+\Z")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*\Z")
_MODE = re.compile(r"0?[0-7]{3,4}\Z")
_PARAMETER = re.compile(r"[!-~]+\Z")
_TEMPLATE = re.compile(r"[a-z0-9][a-z0-9.-]{0,80}-[0-9a-f]{12}\Z")
_CAPTURED = re.compile(r"[a-z0-9-]+@[0-9a-f]{8,64}\Z")


def _package(value: str) -> str:
    if not _PACKAGE.match(value):
        raise ValueError(f"{value!r} is not the name of a Debian package")
    return value


def _word(value: str) -> str:
    if not _WORD.match(value):
        raise ValueError(f"{value!r} is not a plain word (letters, digits, . _ - /)")
    return value


def _web(value: str) -> str:
    parts = urlsplit(value)
    plain = all("!" <= c <= "~" for c in value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
        raise ValueError(f"{value!r} is not an address: write it like https://packages.lan/debian")
    return value


def _parameter(value: str) -> str:
    if not _PARAMETER.match(value):
        raise ValueError(f"{value!r} is not one kernel parameter: write one a line, without blanks")
    return value


def _template(value: str) -> str:
    if value and not _TEMPLATE.match(value):
        raise ValueError(f"{value!r} is not the name of a template: lab image list prints them")
    return value


def _captured(value: str) -> str:
    if value and not _CAPTURED.match(value):
        raise ValueError(f"{value!r} is not a capture: write it like web1@1a2b3c4d")
    return value


def _mode(value: Any) -> Any:
    if isinstance(value, int) or not isinstance(value, str) or not _MODE.match(value):
        raise ValueError(f'{value!r} is not a file mode: write it in quotes, like "0644"')
    return value


Package = Annotated[str, AfterValidator(_package)]
Word = Annotated[str, AfterValidator(_word)]


class Repository(Section):
    """A further apt repository, and the key that signs it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
    uri: Annotated[str, AfterValidator(_web)]
    suites: Annotated[tuple[Word, ...], Field(min_length=1)]
    components: tuple[Word, ...] = ("main",)
    key: File


class ImageFile(Section):
    """One file of the image: written here, or taken from the lab."""

    content: str | None = None
    source: File | None = None
    mode: Annotated[str, BeforeValidator(_mode)] = "0644"

    @model_validator(mode="after")
    def _has_one(self) -> ImageFile:
        if (self.content is None) == (self.source is None):
            raise ValueError("a file has either content or source")
        return self

    @property
    def bytes(self) -> bytes:
        """What the file holds."""
        if self.source is not None:
            return self.source.content
        return (self.content or "").encode()


def _path(value: str) -> str:
    steps = value.split("/")
    if not value.startswith("/") or any(s in {"", ".", ".."} for s in steps[1:]) or "\0" in value:
        raise ValueError(f"{value!r} is not the whole path of a file, like /etc/motd")
    return value


class Image(Section):
    """The persona's ``image``: what a new machine starts from.

    Attributes:
        template: The promoted one, by name: new machines are made from it, and those that exist
            stay on theirs until they are rebuilt. ``""``: machines follow the definition.
        captured: The capture of a boot disk that it was made from, ``"web1@1a2b3c4d"``.
    """

    base: BaseField
    packages: tuple[Package, ...] = ()
    repositories: tuple[Repository, ...] = ()
    files: dict[Annotated[str, AfterValidator(_path)], ImageFile] = Field({})
    certificates: tuple[File, ...] = ()
    kernel_parameters: tuple[Annotated[str, AfterValidator(_parameter)], ...] = ()
    template: Annotated[str, AfterValidator(_template)] = ""
    captured: Annotated[str, AfterValidator(_captured)] = ""

    @model_validator(mode="after")
    def _can_be_made(self) -> Image:
        names = [r.name for r in self.repositories]
        if len(set(names)) != len(names):
            raise ValueError("two repositories have the same name")
        if self.captured and not self.template:
            raise ValueError("captured says where a template came from: name it at template")
        for certificate in self.certificates:
            # A file is empty where the lab is only looked at without reading its files.
            if certificate.content and b"-----BEGIN CERTIFICATE-----" not in certificate.content:
                raise ValueError(f"{certificate.path} is not a certificate in PEM form")
        return self


class Provider(BaseModel):
    """What matters here of the provider: for kind docker also where its engine is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: str = "qemu"
    host: Any = None

    @property
    def engine(self) -> str | None:
        """Its address, ``""`` for the usual one; ``None`` where machines are no containers."""
        if self.kind != "docker":
            return None
        return self.host if isinstance(self.host, str) else ""


AnyProvider = Annotated[
    Annotated[Provider, Tag(OTHER)] | Annotated[Proxmox, Tag(PROXMOX)], Discriminator(variant)
]


class Document(BaseModel):
    """What this layer reads of a host's merged document."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    provider: AnyProvider = Provider()
    image: Image | None = None
    machine: Any = None

    @property
    def is_container(self) -> bool:
        """Whether the machine is one that is made from the node's own templates."""
        return isinstance(self.machine, dict) and self.machine.get("kind") == LXC

    @field_validator("image")
    @classmethod
    def _made_from_it(cls, image: Image | None, info: ValidationInfo) -> Image | None:
        provider = info.data.get("provider")
        if image is not None and isinstance(provider, Provider) and provider.kind == "existing":
            raise ValueError(
                "the machines of this provider are there already (kind: existing): take image "
                "out, or write image: !reset null in the host's entry"
            )
        return image


class Definition(BaseModel):
    """An image's definition in a form that can be kept, compared and shown: files as hashes.

    ``form`` is ``""`` for a disk.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    recipe: int
    form: str = ""
    architecture: str
    base: str
    checksum: str = ""
    packages: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    files: dict[str, str] = {}
    certificates: tuple[str, ...] = ()
    kernel_parameters: tuple[str, ...] = ()

    @classmethod
    def of(cls, image: Image, form: str = "") -> Definition:
        """The definition of ``image`` on a machine like this one."""
        return cls(
            recipe=_RECIPES[form],
            form=form,
            architecture=os.uname().machine,
            base=image.base.suite or image.base.url,
            checksum=image.base.checksum,
            packages=tuple(sorted(set(image.packages))),
            repositories=tuple(_repository_line(r) for r in image.repositories),
            files={
                path: f"{file.mode} sha256:{hashlib.sha256(file.bytes).hexdigest()}"
                for path, file in sorted(image.files.items())
            },
            certificates=tuple(f"sha256:{c.sha256}" for c in image.certificates),
            kernel_parameters=image.kernel_parameters,
        )

    @property
    def hash(self) -> str:
        """Twelve hex digits over everything that goes in."""
        left_out = None if self.form else {"form"}
        text = json.dumps(self.model_dump(mode="json", exclude=left_out), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _repository_line(repository: Repository) -> str:
    suites, components = " ".join(repository.suites), " ".join(repository.components)
    key: LabFile = repository.key
    return f"{repository.name}: {repository.uri} {suites} {components} key sha256:{key.sha256}"


class Spec(BaseModel):
    """One template: its definition, the name that follows from it, and the sources of its files.

    ``engine`` is where containers are made from it (see :attr:`Provider.engine`); ``proxmox`` is
    the cluster whose machines are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    definition: Definition
    image: Image
    engine: str | None = None
    proxmox: Proxmox | None = None

    @classmethod
    def of(cls, image: Image, engine: str | None = None, proxmox: Proxmox | None = None) -> Spec:
        """The template of ``image``."""
        form = "" if engine is None else CONTAINER
        definition = Definition.of(image, form if proxmox is None else PROXMOX)
        own = f"{image.base.name}-{definition.hash}"
        name = image.template if image.template and engine is None else own
        return cls(name=name, definition=definition, image=image, engine=engine, proxmox=proxmox)

    @property
    def own_name(self) -> str:
        """The name of the template that the definition comes to, promoted or not."""
        return f"{self.image.base.name}-{self.definition.hash}"

    @property
    def pinned(self) -> bool:
        """Whether a promoted template is named; containers always follow their definition."""
        return bool(self.image.template) and self.engine is None


class Inputs(BaseModel):
    """From below: nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Previous(BaseModel):
    """The template that the host was made from until now."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    definition: Definition


class Observed(BaseModel):
    """What is known of one template on this machine.

    Attributes:
        name: The template's.
        path: Where its disk is, or will be; on Proxmox VE its VMID, ``""`` before it has one.
        present: It is there, whole.
        damaged: Why a disk that is there cannot be used; ``""`` = there is none, or it is whole.
        foreign: What stands in its place and is not ours, in words; ``""`` = nothing.
        users: Hosts whose root disk lies on it.
        baseline: As recorded when it was made.
        previous: Another template that this host uses now.
        lent: It is not here, and the lab that this one is a throwaway twin of lends it.
        borrows: Only that lab makes it; this one uses what is there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    path: str
    present: bool
    damaged: str = ""
    foreign: str = ""
    users: tuple[str, ...] = ()
    baseline: Baseline | None = None
    previous: Previous | None = None
    lent: bool = False
    borrows: bool = False


class Outputs(BaseModel):
    """Handed up. ``stays``: a machine that lies on another template is not made anew for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str | None = None
    template_name: str
    stays: bool = False
    baseline: Baseline
