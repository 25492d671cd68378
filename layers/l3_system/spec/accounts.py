"""``users``, ``groups`` and ``sudoers``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from lab.model.files import File, LabFile, Reader
from lab.model.secret import SecretText
from layers.l3_system.spec.types import Account, Declared, Part, Path, empty_for_null, plain

_KEY = re.compile(
    r"(?:^|\s)((?:ssh|sk-ssh|ecdsa|sk-ecdsa)-[a-z0-9@.-]+)\s+(AAAA[A-Za-z0-9+/]+={0,3})(?:\s|$)"
)
_LITERAL = re.compile(r"(?:^|\s)(?:ssh|sk-ssh|ecdsa|sk-ecdsa)-[a-z0-9@.-]+\s+AAAA")
_SUDOERS_NAME = re.compile(r"[A-Za-z0-9_-]+")


def key_of(line: str) -> str:
    """What counts of a line of authorized_keys: its options, type and key, without the comment.

    ``""`` for a blank line, a comment, or what is no key.
    """
    line = " ".join(line.split())
    match = None if line.startswith("#") else _KEY.search(line)
    return line[: match.end(2)] if match else ""


def _keys(value: Any, info: ValidationInfo) -> LabFile:
    """A file of keys, or one line of them as a file without a place."""
    if isinstance(value, LabFile):
        return value
    if not isinstance(value, str):
        raise ValueError("a line of public key, or the name of a file with such lines")  # noqa: TRY004
    if _LITERAL.search(value) or value.startswith("AAAA"):
        return LabFile(" ".join(value.split()), value.encode())
    if info.context is None:
        return LabFile(str(value), b"")
    reader: Reader = info.context["reader"]
    return reader.file(value)


def _public(keys: LabFile) -> LabFile:
    if b"PRIVATE KEY" in keys.content:
        raise ValueError(f"{keys.path} is a private key: name the .pub file beside it")
    for number, line in enumerate(keys.content.decode(errors="replace").splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#") and not key_of(line):
            where = "" if keys.path == " ".join(line.split()) else f" in line {number}"
            raise ValueError(f"{keys.path} holds no public key{where}")
    return keys


PublicKeys = Annotated[
    LabFile,
    BeforeValidator(_keys),
    AfterValidator(_public),
    PlainSerializer(lambda f: f.path, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "description": "a line of public key, or a file of such lines"}
    ),
]


class AuthorizedKeys(Declared):
    """Keys that let a user in; a list of them is short for ``{keys: [...]}``."""

    keys: tuple[PublicKeys, ...] = Field(default=(), description="lines, or files of lines")
    exact: bool = Field(default=False, description="keys that nobody declared are removed")


def _listed(value: Any) -> Any:
    return {"keys": value} if isinstance(value, (list, tuple)) else value


class User(Declared):
    """A user. What is left out is the system's default for a new one, and kept for an old one.

    Groups and keys that somebody else gave the user are left alone, unless keys are exact.
    """

    state: Literal["present", "absent"] = "present"
    remove_home: bool = Field(default=False, description="absent with everything in the home")
    system: bool = Field(default=False, description="made as a system user: for a service")
    uid: int | None = Field(default=None, ge=0, lt=2**32 - 1)
    comment: Annotated[str, AfterValidator(plain)] | None = None
    home: Path | None = None
    shell: Path | None = None
    groups: tuple[Account, ...] = Field(default=(), description="besides the user's own")
    password_hash: SecretText | None = Field(default=None, description="as mkpasswd prints it")
    authorized_keys: Annotated[
        AuthorizedKeys,
        BeforeValidator(_listed, json_schema_input_type=list[PublicKeys] | AuthorizedKeys),
    ] = AuthorizedKeys()

    @model_validator(mode="after")
    def _sense(self) -> Self:
        if self.remove_home and self.state != "absent":
            raise ValueError("remove_home goes with state: absent")
        return self


class Group(Declared):
    """A group."""

    state: Literal["present", "absent"] = "present"
    gid: int | None = Field(default=None, ge=0, lt=2**32 - 1)
    system: bool = Field(default=False, description="made with a number of the system's range")


def _sudoers_name(value: str) -> str:
    if not _SUDOERS_NAME.fullmatch(value):
        raise ValueError(
            f"{value!r}: sudo ignores files with a dot or ~ in their names;"
            " write it with letters, digits, _ and -"
        )
    return value


class Sudoers(Declared):
    """Rules of sudo; a text is short for ``{content: text}``. Checked before they count."""

    content: str | None = None
    template: File | None = Field(default=None, description="a Jinja2 template of the lab")
    source: File | None = Field(default=None, description="a file of the lab, taken as it is")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"content": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [n for n in ("content", "template", "source") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of content, template and source")
        return self


class Accounts(Part):
    """The keys of ``system`` about who is known to the host, and what they may do."""

    users: dict[Account, Annotated[User, BeforeValidator(empty_for_null)]] = {}
    groups: dict[Account, Annotated[Group, BeforeValidator(empty_for_null)]] = {}
    sudoers: dict[Annotated[str, AfterValidator(_sudoers_name)], Sudoers] = {}


def contradictions(accounts: Accounts) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What types cannot find: ``(path, message)``."""
    if "root" in accounts.users and accounts.users["root"].state == "absent":
        yield ("users", "root"), "root cannot be absent"
    gone = {name for name, group in accounts.groups.items() if group.state == "absent"}
    present = {n: u for n, u in accounts.users.items() if u.state == "present"}
    for name, user in present.items():
        for index, group in enumerate(user.groups):
            if group in gone:
                yield ("users", name, "groups", index), f"the group {group} is declared absent"
    yield from _twice("users", "uid", {n: u.uid for n, u in present.items()})
    yield from _twice("groups", "gid", {n: g.gid for n, g in accounts.groups.items()})


def _twice(
    section: str, field: str, numbers: Mapping[str, int | None]
) -> Iterator[tuple[tuple[str, ...], str]]:
    holders: dict[int, str] = {}
    for name, number in numbers.items():
        if number is not None and holders.setdefault(number, name) != name:
            yield (section, name, field), f"{holders[number]} has the {field} {number} already"
