"""Declared ports: ``{18080: 8080}`` or ``["18080:8080", "127.0.0.1:5353:53/udp"]``, as Compose."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationError, WithJsonSchema
from pydantic_core import InitErrorDetails, PydanticCustomError

LOOPBACK = "127.0.0.1"
_ANY = "0.0.0.0"  # noqa: S104 (compared with, never bound by default)
_FORWARD = re.compile(r"^(?:(?P<bind>[0-9.]+):)?(?P<host>\d+):(?P<guest>\d+)(?:/(?P<proto>\w+))?$")
_HIGHEST = 65535


@dataclass(frozen=True, slots=True, order=True)
class Forward:
    """A port of this machine that leads to one of the guest.

    ``key`` is where the document says it (a mapping's key or a list's index); it is no part of
    what the forward is.
    """

    protocol: str
    bind: str
    host: int
    guest: int
    key: int | str = field(default=0, compare=False)

    def __str__(self) -> str:
        """The long form that :func:`parse_forward` reads: ``127.0.0.1:18080:8080/tcp``."""
        return f"{self.bind}:{self.host}:{self.guest}/{self.protocol}"

    @property
    def claim(self) -> str:
        """What only one host can have."""
        return f"{self.protocol} {self.bind}:{self.host}"

    @property
    def near(self) -> str:
        """Where this machine finds it: ``127.0.0.1:18080``."""
        return f"{LOOPBACK if self.bind == _ANY else self.bind}:{self.host}"

    def overlaps(self, other: Forward) -> bool:
        """Whether both want the same port of this machine."""
        same = (self.protocol, self.host) == (other.protocol, other.host)
        return same and (self.bind == other.bind or _ANY in {self.bind, other.bind})


def parse_forward(text: str, key: int | str = 0) -> Forward:
    """The forward that ``text`` says. Raises ValueError in plain words."""
    match = _FORWARD.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a port: write 18080:8080 or 127.0.0.1:5353:53/udp")
    bind = match["bind"] or LOOPBACK
    protocol = match["proto"] or "tcp"
    if protocol not in {"tcp", "udp"}:
        raise ValueError(f"{protocol!r} cannot be forwarded: write tcp or udp")
    try:
        ipaddress.IPv4Address(bind)
    except ValueError:
        raise ValueError(f"{bind!r} is not an IPv4 address of this machine") from None
    host, guest = int(match["host"]), int(match["guest"])
    for port in (host, guest):
        if not 1 <= port <= _HIGHEST:
            raise ValueError(f"{port} is not a port: ports go from 1 to {_HIGHEST}")
    return Forward(protocol, bind, host, guest, key)


def _entries(value: Any) -> Iterable[tuple[int | str, str]]:
    if isinstance(value, dict):
        yield from ((key, f"{key}:{guest}") for key, guest in value.items())
    elif isinstance(value, (list, tuple)):
        for index, entry in enumerate(value):
            # YAML 1.1 reads an unquoted 53:53 as the number 3233.
            yield index, entry if isinstance(entry, str) else f"{entry} (put it in quotes)"
    else:
        raise ValueError("ports are a mapping like {18080: 8080} or a list of strings")  # noqa: TRY004


def _add(forward: Forward, forwards: list[Forward]) -> None:
    if any(f.overlaps(forward) for f in forwards):
        raise ValueError(f"{forward.protocol} port {forward.host} is forwarded twice")
    forwards.append(forward)


def _parse(value: Any) -> tuple[Forward, ...]:
    if isinstance(value, tuple) and all(isinstance(v, Forward) for v in value):
        return value
    forwards: list[Forward] = []
    wrong: list[InitErrorDetails] = []
    for key, text in _entries(value):
        try:
            forward = parse_forward(text, key)
            _add(forward, forwards)
        except ValueError as error:
            kind = PydanticCustomError("port", "{text}", {"text": str(error)})
            wrong.append(InitErrorDetails(type=kind, loc=(key,), input=text))
    if wrong:
        raise ValidationError.from_exception_data("ports", wrong)
    return tuple(forwards)


Ports = Annotated[
    tuple[Forward, ...],
    BeforeValidator(_parse),
    PlainSerializer(lambda ports: [str(p) for p in ports], return_type=list[str]),
    WithJsonSchema(
        {
            "description": "port of this machine: port of the guest",
            "anyOf": [
                {
                    "type": "object",
                    "additionalProperties": {"type": ["integer", "string"]},
                    "examples": [{"18080": 8080}],
                },
                {"type": "array", "items": {"type": "string"}, "examples": [["18080:8080"]]},
            ],
        }
    ),
]
"""A field of forwards, written as a mapping or a list."""
