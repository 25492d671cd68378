"""What a machine is to be, what it needs from below, what was found, what it hands up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    InstanceOf,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from lab.model.later import later
from lab.model.provider import OTHER, PROXMOX, variant
from lab.model.secret import Secret, SecretText
from lab.model.units import Duration
from layers.l2_instantiate.declared import Declared

if TYPE_CHECKING:
    from layers.l2_instantiate.machines import AnyMachine, Container, Machine, Made
    from layers.l2_instantiate.proxmox import ProxmoxProvider
else:
    AnyMachine = later("layers.l2_instantiate.machines:AnyMachine")
    ProxmoxProvider = later("layers.l2_instantiate.proxmox:ProxmoxProvider")

EXISTING = "existing"
KINDS = ("docker", EXISTING, "memory", PROXMOX, "qemu")
_LOGIN = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$")  # others name their users otherwise
_KEY_TYPE = re.compile(r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+|sk-[a-z0-9@.-]+)$")
_BLOB = re.compile(r"^[A-Za-z0-9+/]+={0,3}$")


class Provider(Declared):
    """The provider of ``lab.yaml`` that a host names.

    ``firmware`` is the UEFI code file of this machine, where it is not in one of the usual places.
    ``host`` is the address of a Docker engine, where it is neither ``DOCKER_HOST`` nor the usual.
    """

    kind: str = Field(json_schema_extra={"enum": [k for k in KINDS if k != PROXMOX]})
    name: str = ""
    accelerator: Literal["auto", "kvm", "tcg"] = "auto"
    firmware: str | None = None
    host: str | None = Field(
        default=None,
        description="kind docker: the engine's address; left out: DOCKER_HOST, or the usual socket",
        examples=["unix:///var/run/docker.sock"],
    )
    isolated: bool = Field(
        default=False,
        description="kinds docker, qemu and proxmox: a network without a way out, and not to each "
        "other",
    )
    boot_deadline: Duration | None = Field(
        default=None,
        description="how long a boot may take; 2m with KVM, 8m without, 1m for a container",
    )

    @field_validator("kind", mode="before")
    @classmethod
    def _known(cls, kind: Any) -> Any:
        if kind not in KINDS:
            raise ValueError(f"no provider of the kind {kind!r}; known are: {', '.join(KINDS)}")
        return kind

    @field_validator("firmware")
    @classmethod
    def _absolute(cls, firmware: str | None) -> str | None:
        if firmware is not None and not firmware.startswith("/"):
            raise ValueError(f"{firmware!r} is not absolute: write it with a leading /")
        return firmware

    @field_validator("host")
    @classmethod
    def _socket(cls, host: str | None) -> str | None:
        if host is not None and not host.startswith("unix:///"):
            raise ValueError(
                f"{host!r} is not an engine on this machine: write it like "
                "unix:///var/run/docker.sock"
            )
        return host

    @property
    def engine(self) -> str | None:
        """Its address, ``""`` for the usual one; ``None`` where machines are no containers."""
        return (self.host or "") if self.kind == "docker" else None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind != "qemu" and (self.accelerator != "auto" or self.firmware is not None):
            raise ValueError(f"accelerator and firmware are for kind qemu, not {self.kind}")
        if self.kind != "docker" and self.host is not None:
            raise ValueError(f"host is for kind docker, not {self.kind}")
        if self.kind not in {"docker", "qemu"} and self.isolated:
            raise ValueError(f"isolated is for kinds docker, proxmox and qemu, not {self.kind}")
        return self


AnyProvider = Annotated[
    Annotated[Provider, Tag(OTHER)] | Annotated[ProxmoxProvider, Tag(PROXMOX)],
    Discriminator(variant),
]


class Existing(Declared):
    """The section ``existing``: how to log in to a machine that this lab did not make.

    Its ``address`` stands beside, in the host's entry.
    """

    user: str = "root"
    port: int = Field(default=22, ge=1, le=65535)
    host_key: str | None = Field(
        default=None,
        description="the one key that is accepted; left out: known_hosts of this user decides",
    )
    identity_file: str | None = Field(
        default=None, description="a private key on this machine; left out: as ssh itself finds one"
    )
    sudo_password: SecretText | None = Field(default=None, description="where sudo asks for one")

    @field_validator("user")
    @classmethod
    def _name(cls, user: str) -> str:
        if not _LOGIN.match(user):
            raise ValueError(f"{user!r} is not the name of a user")
        return user

    @field_validator("host_key")
    @classmethod
    def _public_key(cls, key: str | None) -> str | None:
        if key is None:
            return None
        words = key.split()
        if len(words) < 2 or not _KEY_TYPE.match(words[0]) or not _BLOB.match(words[1]):  # noqa: PLR2004
            raise ValueError(
                "a host key is written as in /etc/ssh/ssh_host_ed25519_key.pub: ssh-ed25519 AAAA…"
            )
        return f"{words[0]} {words[1]}"

    @field_validator("identity_file")
    @classmethod
    def _findable(cls, path: str | None) -> str | None:
        if path is not None and not path.startswith(("/", "~/")):
            raise ValueError(f"{path!r}: write the whole path, from / or ~/")
        return None if path is None else str(Path(path).expanduser())


class Document(BaseModel):
    """The sections of a host's document that this layer reads."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    provider: AnyProvider
    machine: AnyMachine | None = None
    existing: Existing | None = None

    @field_validator("machine")
    @classmethod
    def _made_by_somebody(cls, machine: Made | None, info: ValidationInfo) -> Made | None:
        if machine is not None and _kind(info) == EXISTING:
            raise ValueError(
                "the machines of this provider are there already (kind: existing): take machine "
                "out, or write machine: !reset null in the host's entry"
            )
        return machine

    @field_validator("existing")
    @classmethod
    def _not_made(cls, existing: Existing | None, info: ValidationInfo) -> Existing | None:
        kind = _kind(info)
        if existing is not None and kind not in {EXISTING, None}:
            raise ValueError(
                f"the provider makes its machines (kind: {kind}); existing is for a provider "
                "of kind existing"
            )
        return existing


def _kind(info: ValidationInfo) -> str | None:
    provider: Provider | ProxmoxProvider | None = info.data.get("provider")
    return provider.kind if provider is not None else None


class Spec(Declared):
    """One machine: the section, and how its provider makes it; or one that is there already."""

    model_config = ConfigDict(serialize_by_alias=True)

    section: AnyMachine | None = Field(default=None, alias="machine")
    existing: Existing | None = None
    engine: str | None = Field(default=None, description="of a container: see Provider.engine")
    isolated: bool = False
    accelerator: Literal["auto", "kvm", "tcg"] = "auto"
    firmware: str | None = None
    boot_deadline: int | None = Field(default=None, description="seconds")
    proxmox: ProxmoxProvider | None = Field(default=None, description="where it is made, if there")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.section is None) == (self.existing is None):
            raise ValueError("a machine is either made or there already")
        return self

    @property
    def machine(self) -> Machine | Container:
        """The section of a machine that is made; MUST NOT be asked of one that is there already."""
        if self.section is None:
            raise TypeError("this machine is there already: it has no section machine")
        return self.section


class Inputs(BaseModel):
    """From below. ``template`` is ``None`` while it is only predicted.

    ``stays``: the template is for new machines; one that lies on another is not made anew for it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    accelerator: Literal["kvm", "tcg"] | None = None
    template: str | None = None
    template_name: str | None = None
    stays: bool = False


class ObservedDisk(Declared):
    """One disk as it is: bytes it can hold, bytes it takes on this machine (``None``: unknown).

    ``place`` is where it lies, for people, where its name alone does not tell.
    """

    size: int
    used: int | None = 0
    durable: bool = False
    owned: bool = True
    place: str = ""


class Observed(Declared):
    """One machine as it is: while it runs as it runs, while it is off as it would start.

    Attributes:
        exists: False where there are only disks that outlived their machine, or foreign files.
        owned: It carries this lab's mark.
        owner: Who made it, for people: ``"lab other"``; ``""`` where nothing says so.
        place: Where it lies on this machine.
        answers: A login was seen to work since it was last started.
        template_name: ``""`` where the root disk no longer fits what it was made from.
        disks: All that exist, ``root`` among them.
        attached: The disks besides root that it has, sorted.
        settings: What else a machine of Proxmox VE is set to, live: see settings.py.
        pending: Those of them that are set to something else from its next start on.
        mounts: Of a container: which of them it has where, ``"data at /srv"``, sorted.
        isolated: Of a QEMU machine: its network leads nowhere.
        root_at_boot: Size of the root disk when the guest last booted; it grows its filesystem
            then.
        ports: Sorted long forms.
        port: Where its SSH is.
        address: Where it is found, where it has an address of its own.
        id, node: Of a machine of Proxmox VE.
        host_key, identity_file: ``None`` where the key is missing or is not the guest's.
        refused: Why a machine that is there already is not believed to be the one that is meant.
    """

    exists: bool = True
    owned: bool = True
    owner: str = ""
    place: str = ""
    power: Literal["running", "stopped", "paused"] = "stopped"
    answers: bool = True
    accelerator: Literal["kvm", "tcg"] = "tcg"
    template_name: str | None = None
    cpu: int = 0
    memory: int = 0
    disks: dict[str, ObservedDisk] = Field(default_factory=dict)
    attached: tuple[str, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    pending: dict[str, Any] = Field(default_factory=dict)
    address: str | None = None
    id: int | None = None
    node: str = ""
    mounts: tuple[str, ...] = ()
    isolated: bool = False
    root_at_boot: int = 0
    ports: tuple[str, ...] = ()
    user: str = ""
    authorized_keys: tuple[str, ...] = ()
    port: int | None = None
    host_key: str | None = None
    identity_file: str | None = None
    refused: str = ""
    hint: str = ""


class Outputs(BaseModel):
    """Handed up: how to reach it.

    Attributes:
        connection: ``"local"``: the machine that Strata itself runs on, without ssh.
        sudo_password: Where becoming root asks for one.
        endpoints: A guest's TCP port to where it is found from here.
        shut: Of what it listens on nothing but its login is found from here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = None
    port: int | None = None
    user: str | None = None
    host_key: str | None = None
    identity_file: str | None = None
    connection: Literal["ssh", "local"] = "ssh"
    sudo_password: InstanceOf[Secret] | None = None
    endpoints: dict[str, str] = {}
    shut: bool = False
