"""``firewall``: what may come in, or a whole ruleset of nftables."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from lab.model.files import File
from layers.l3_system.spec.addresses import IpNetwork, as_list
from layers.l3_system.spec.types import Declared

_SHORT = re.compile(r"^(\d+(?:-\d+)?)/(tcp|udp)$")
_PORTS = re.compile(r"^(\d{1,5})(?:-(\d{1,5}))?$")
_TABLE = re.compile(
    r"^[ \t]*(?:(?:add|create)[ \t]+)?table[ \t]+(?:(ip6?|inet|arp|bridge|netdev)[ \t]+)?"
    r"([A-Za-z_][\w.-]*)",
    re.MULTILINE,
)
_COMMENT = re.compile(r"#.*$", re.MULTILINE)
_FLUSH = re.compile(r"^[ \t]*flush[ \t]+ruleset", re.MULTILINE)
_LAST_PORT = 65535


def _ports(value: Any) -> Any:
    match = _PORTS.match(str(value))
    if isinstance(value, bool) or match is None:
        raise ValueError(f"{value!r} is not a port: write it like 80 or 8000-8010")
    first, last = int(match[1]), int(match[2] or match[1])
    if not 0 < first <= last <= _LAST_PORT:
        raise ValueError(f"{value!r} is not a port: they go from 1 to {_LAST_PORT}")
    return str(value)


class Allowed(Declared):
    """What may come in. ``80/tcp`` is short for ``{port: 80, proto: tcp}``, ``ssh`` is sshd's."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    port: Annotated[str, BeforeValidator(_ports)] | Literal["ssh"]
    proto: Literal["tcp", "udp"] = "tcp"
    origin: Annotated[tuple[IpNetwork, ...], BeforeValidator(as_list)] = Field(
        default=(), alias="from", description="networks; left out: from everywhere"
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if value == "ssh":
            return {"port": "ssh"}
        match = _SHORT.match(value) if isinstance(value, str) else None
        if match is not None:
            return {"port": match[1], "proto": match[2]}
        if isinstance(value, dict):
            return value
        raise ValueError(f"{value!r}: write it like ssh, 80/tcp or {{port: 53, proto: udp}}")


class Ruleset(Declared):
    """Tables of nftables. ``ruleset: rules.nft`` is short for ``ruleset: {source: rules.nft}``."""

    content: str | None = None
    template: File | None = Field(default=None, description="a Jinja2 template of the lab")
    source: File | None = Field(default=None, description="a file of the lab, taken as it is")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [n for n in ("content", "template", "source") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of content, template and source")
        return self


class Firewall(Declared):
    """Either what may come in, or a ruleset. What others load (Docker) is never touched."""

    allow: tuple[Allowed, ...] = Field(
        default=(), description="besides ssh, answers, loopback and ICMP, which always may"
    )
    policy: Literal["drop", "reject", "accept"] = Field(
        default="drop", description="for everything else that comes in"
    )
    ruleset: Ruleset | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.ruleset is not None and self.model_fields_set & {"allow", "policy"}:
            raise ValueError("a ruleset says everything: leave allow and policy out")
        return self


def tables(rules: str) -> tuple[str, ...]:
    """The tables that a ruleset defines, as ``"inet filter"``.

    Raises ValueError where there are none, or where it would empty the tables of others.
    """
    bare = _COMMENT.sub("", rules)
    if _FLUSH.search(bare):
        raise ValueError(
            "'flush ruleset' would empty the tables of others too (Docker's): leave it out; "
            "the tables that stand here are replaced as a whole anyway"
        )
    found = {f"{family or 'ip'} {name}": None for family, name in _TABLE.findall(bare)}
    if not found:
        raise ValueError("no table stands in it: write table inet filter { … }")
    return tuple(found)
