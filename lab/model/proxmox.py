"""A provider of kind ``proxmox``: how its API is reached, and where on it things may be made.

The layers that work on it share this one model; what a single layer reads besides stands in that
layer's own spec.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from lab.model.files import File
from lab.model.secret import SecretText

LXC = "lxc"

TAG = "strata"
"""The tag that everything of ours carries, besides those that tell whose it is."""

TEMPLATE_TAG = "strata_template"
"""The tag of templates; the underscore keeps it apart from every host's."""

DRILL_TAG = "strata_drill"
"""The tag of drills' twins; the underscore keeps it apart from every host's."""

_NOT_IN_A_TAG = re.compile(r"[^a-z0-9_.+-]")


def host_tag(host: str) -> str:
    """The tag of a host's machine: for people and their searches; its description decides."""
    return _NOT_IN_A_TAG.sub("-", f"{TAG}-{host}".lower())


def twin_tag(host: str) -> str:
    """The tag of the twin of a host: no host's own tag is like it."""
    return _NOT_IN_A_TAG.sub("-", f"{DRILL_TAG}-{host}".lower())


_SHA256_BYTES = 32
_LOWEST_ID, _HIGHEST_ID = 100, 999_999_999
_NODE = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$")
_STORAGE = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]$")
_BRIDGE = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]{0,14}$")
_POOL = re.compile(r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){0,2}$")
_IDS = re.compile(r"^(\d+)-(\d+)$")
_HEX = re.compile(r"^[0-9A-F]{2}(:[0-9A-F]{2})*$")


class IdRange(BaseModel):
    """VMIDs from ``first`` to ``last``, both included; written ``9000-9999``."""

    model_config = ConfigDict(frozen=True)

    first: int
    last: int

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.first <= number <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def numbers(self) -> range:
        """All of them, lowest first."""
        return range(self.first, self.last + 1)


def _ids(value: Any) -> Any:
    if isinstance(value, IdRange):
        return value
    found = _IDS.match(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is not a range of VMIDs: write it like 9000-9999")
    first, last = int(found[1]), int(found[2])
    if not _LOWEST_ID <= first <= last <= _HIGHEST_ID:
        raise ValueError(f"{value!r}: VMIDs go from {_LOWEST_ID} to {_HIGHEST_ID}, lowest first")
    return IdRange(first=first, last=last)


Ids = Annotated[
    IdRange,
    BeforeValidator(_ids),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+-\d+$", "examples": ["9000-9999"]}),
]


class VmIds(BaseModel):
    """The VMIDs that are this lab's to use; nothing outside of them is ever made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    machines: Ids = IdRange(first=5000, last=7999)
    drills: Ids = IdRange(first=8000, last=8999)
    templates: Ids = IdRange(first=9000, last=9999)

    @model_validator(mode="after")
    def _apart(self) -> Self:
        ranges = sorted(
            ((name, getattr(self, name)) for name in ("machines", "drills", "templates")),
            key=lambda item: item[1].first,
        )
        for (name, ids), (other, more) in itertools.pairwise(ranges):
            if more.first <= ids.last:
                raise ValueError(f"{name} ({ids}) and {other} ({more}) have VMIDs in common")
        return self


class AddressRange(BaseModel):
    """Addresses from ``first`` to ``last``, both included; written ``192.0.2.200-192.0.2.209``."""

    model_config = ConfigDict(frozen=True)

    first: str
    last: str

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def addresses(self) -> tuple[str, ...]:
        """All of them, lowest first."""
        first, last = (ipaddress.ip_address(text) for text in (self.first, self.last))
        return tuple(str(first + step) for step in range(int(last) - int(first) + 1))


def _addresses(value: Any) -> Any:
    if isinstance(value, AddressRange) or value == DHCP:
        return value
    first, dash, last = value.partition("-") if isinstance(value, str) else ("", "", "")
    try:
        ends = [ipaddress.ip_address(text.strip()) for text in (first, last if dash else first)]
        size = int(ends[1]) - int(ends[0]) + 1 if ends[0].version == ends[1].version else 0
    except ValueError:
        size = 0
    if not 0 < size <= _MOST_ADDRESSES:
        raise ValueError(
            f"{value!r} is no range of addresses: write it like 192.0.2.200-192.0.2.209 (lowest "
            f"first, {_MOST_ADDRESSES} at most), or dhcp"
        )
    return AddressRange(first=str(ends[0]), last=str(ends[1]))


def _address(value: Any) -> Any:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError(f"{value!r} is not an address: write it like 192.0.2.5") from None


DHCP = "dhcp"
_MOST_ADDRESSES = 1024
Addresses = Annotated[
    AddressRange | Literal["dhcp"],
    BeforeValidator(_addresses),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["192.0.2.200-192.0.2.209", "dhcp"]}),
]


class Drills(BaseModel):
    """What twins of drills need on a cluster, besides their VMIDs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    addresses: Addresses | None = Field(
        default=None,
        description="for twins of hosts with an address of their own: a range that nobody else "
        "uses, or dhcp; others have theirs by DHCP anyway",
    )
    runner: Annotated[str, BeforeValidator(_address)] | None = Field(
        default=None,
        description="this machine's address as twins see it, which alone may log in to them; "
        "left out: the one that leads to them, right unless something translates it on the way",
    )


def _url(value: str) -> str:
    parts = urlsplit(value)
    try:
        port = parts.port
    except ValueError:
        port = 0
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme != "https" or not parts.hostname or port == 0 or not plain:
        raise ValueError(f"{value!r} is not the address of a node: write it https://pve.lan:8006")
    return f"https://{parts.netloc.lower()}"


def _fingerprint(value: str) -> str:
    text = value.upper().removeprefix("SHA256:").strip()
    if not _HEX.match(text) or text.count(":") != _SHA256_BYTES - 1:
        raise ValueError(
            "a fingerprint is SHA-256, 32 pairs of hex digits with colons between, as the node's "
            "own page and pvenode cert info show it"
        )
    return text


def _named(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.match(value):
            raise ValueError(f"{value!r} is not the name of a {what} in Proxmox VE")
        return value

    return AfterValidator(check)


StorageName = Annotated[str, _named(_STORAGE, "storage")]
BridgeName = Annotated[str, _named(_BRIDGE, "bridge")]
NodeName = Annotated[str, _named(_NODE, "node")]
PoolName = Annotated[str, _named(_POOL, "pool")]
Vlan = Annotated[int, Field(ge=1, le=4094)]


class Proxmox(BaseModel):
    """What all layers know of a provider of kind ``proxmox``.

    Keys that one layer alone reads are passed over here, and refused in that layer.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["proxmox"] = "proxmox"
    url: Annotated[str, AfterValidator(_url)] = Field(
        description="the API of any node of the cluster", examples=["https://pve.lan:8006"]
    )
    fingerprint: Annotated[str, AfterValidator(_fingerprint)] | None = Field(
        default=None,
        description="SHA-256 of the node's certificate, the only one that is accepted; "
        "left out, ca or this machine's own certificate authorities decide",
    )
    ca: File | None = Field(
        default=None, description="a file of the lab with the authority that signed it (PEM)"
    )
    token: SecretText = Field(description="!secret NAME; the value is user@realm!id=secret")
    node: NodeName = Field(description="where machines and templates are made")
    storage: StorageName = Field(description="for disks")
    template_storage: StorageName = Field(
        default="local", description="takes images on their way in (content: import)"
    )
    seed_storage: StorageName = Field(
        default="local",
        description="takes what each machine's first boot reads (content: iso)",
    )
    backup_storage: StorageName | None = Field(
        default=None,
        description="takes captured boot disks (content: backup; a Proxmox Backup Server, too); "
        "left out: boot disks are not captured",
    )
    bridge: BridgeName = Field(default="vmbr0", description="network of a machine's first card")
    vlan: Vlan | None = Field(default=None, description="its VLAN; left out: untagged")
    pool: PoolName | None = Field(default=None, description="everything of ours is put into it")
    vmids: VmIds = VmIds()
    drills: Drills = Drills()
    isolated: bool = Field(
        default=False,
        description="its machines reach nothing, and this machine alone may log in to them: what "
        "a drill sets for its twin; needs the cluster's firewall",
    )

    @field_validator("ca")
    @classmethod
    def _is_pem(cls, ca: File | None) -> File | None:
        # A file is empty where the lab is only looked at without reading its files.
        if ca is not None and ca.content and b"-----BEGIN CERTIFICATE-----" not in ca.content:
            raise ValueError(f"{ca.path} is not a certificate in PEM form")
        return ca

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.fingerprint is not None and self.ca is not None:
            raise ValueError("write fingerprint or ca, not both: the fingerprint alone decides")
        return self

    @property
    def place(self) -> str:
        """Where a template serves: hosts with the same one share templates."""
        return f"{self.storage} of {self.node} at {self.url}"
