"""``lab adopt``: a machine that is there, written down as files of the lab."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lab.abilities import Described
from lab.api import yaml_text
from lab.config import Inventory
from lab.config.problems import suggest
from lab.errors import ConfigError, LabError, Problem
from lab.layer import Layer
from lab.model.declared import host_name
from lab.model.host import Host
from lab.model.outcome import RunReport
from lab.model.secret import Secret, SecretName

KIND = "existing"
_ADDRESS = re.compile(
    r"^(?:(?P<user>[^@\s]+)@)?(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^:@\s\[\]]+|[0-9a-f:]{3,}))"
    r"(?::(?P<port>\d{1,5}))?$"
)


@dataclass(frozen=True, slots=True)
class Login:
    """Where a machine is and how it is logged in to.

    Attributes:
        address: A name, an address, or ``"local"``.
        host_key: The one that is accepted; ``None``: this user's known_hosts decides.
        sudo_password: The name of a secret of the lab, or ``None``.
    """

    address: str
    user: str = "root"
    port: int = 22
    host_key: str | None = None
    identity_file: str | None = None
    sudo_password: str | None = None

    @classmethod
    def of(cls, text: str, **more: Any) -> Login:
        """Of ``user@192.0.2.9:2222``. Raises ConfigError."""
        match = _ADDRESS.match(text)
        if match is None:
            what = f"{text!r} is not an address: write it like root@192.0.2.9 or me@nas.lan:2222"
            raise ConfigError([Problem("", what)])
        return cls(
            address=match["six"] or match["host"],
            user=match["user"] or "root",
            port=int(match["port"] or 22),
            **more,
        )

    def section(self) -> dict[str, Any]:
        """``existing`` of the host's entry, without what is usual."""
        said: dict[str, Any] = {"user": self.user, "port": self.port}
        if self.address == "local":
            said = {}
        said |= {"host_key": self.host_key, "identity_file": self.identity_file}
        if self.sudo_password is not None:
            said["sudo_password"] = SecretName(self.sudo_password)
        usual = {"port": 22, "host_key": None, "identity_file": None}
        return {k: v for k, v in said.items() if k not in usual or usual[k] != v}


@dataclass(frozen=True, slots=True)
class Adopted:
    """What came of it.

    Attributes:
        written: New files of the lab, and those that were added to, with what was.
        persona: The text of the new persona.
        left: What is on the machine and in no file, each with the reason.
        plan: The plan of the host right after; ``None``: nothing was written (a dry run).
    """

    host: str
    written: tuple[tuple[str, str], ...]
    persona: str
    left: tuple[tuple[str, str], ...]
    plan: RunReport | None = None

    @property
    def verb(self) -> str:
        """As of a run."""
        return "adopt"


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything that is to be written: new files, and edited ones before and after."""

    new: Mapping[str, bytes]
    edited: Mapping[str, tuple[bytes, bytes]]
    adopted: Adopted


def checked(inventory: Inventory, host: str, persona: str, provider: str | None) -> str:
    """The provider's name, new or not. Raises ConfigError where names are wrong or taken."""
    problems: list[Problem] = []
    for name in dict.fromkeys((host, persona, *([provider] if provider else []))):
        try:
            host_name(name)
        except ValueError as error:
            problems.append(Problem("", str(error)))
    if host in inventory.hosts:
        where = inventory.documents[host].place
        problems.append(Problem(str(where), f"the host {host} is declared already"))
    taken = [f"personas/{persona}.yaml", f"personas/{persona}"]
    for path in [p for p in taken if (inventory.root / p).exists()][:1]:
        hint = "give the new persona another name: --persona NAME"
        problems.append(Problem(f"{path}:1:1", f"{path} exists already; {hint}"))
    kinds = inventory.providers
    if provider is not None and kinds.get(provider, KIND) != KIND:
        fit = [name for name, kind in kinds.items() if kind == KIND]
        what = f"the provider {provider} makes machines (kind: {kinds[provider]})"
        problems.append(Problem("lab.yaml:1:1", f"{what}{suggest(provider, fit)}"))
    if problems:
        raise ConfigError(problems)
    there = next((name for name, kind in kinds.items() if kind == KIND), None)
    return provider or there or ("there" if "there" not in kinds else KIND)


def host_of(
    layers: Sequence[Layer], inventory: Inventory, name: str, persona: str, login: Login
) -> Host:
    """The host as it would be declared, with nothing declared for it. Raises ConfigError."""
    section = login.section()
    if login.sudo_password is not None:
        section["sudo_password"] = Secret(login.sudo_password, inventory.secrets)
    document = {"provider": {"kind": KIND}, KIND: section}
    try:
        parts = {
            layer.name: layer.parts(
                layer.document.model_validate(document, context=inventory.context)
            )
            for layer in layers
        }
    except ValidationError as error:
        said = [e["msg"].removeprefix("Value error, ") for e in error.errors(include_url=False)]
        raise ConfigError([Problem("", text) for text in said]) from error
    host = Host(name, persona, KIND, address=login.address, parts=parts)
    wrong = [
        Problem("", what)
        for layer in layers
        for part in parts[layer.name]
        for _, what in layer.check(host, part)
    ]
    if wrong:
        raise ConfigError(wrong)
    return host


def drafted(
    inventory: Inventory, host: Host, provider: str, login: Login, described: Iterable[Described]
) -> Draft:
    """The files: the persona and what it names, the host's entry, the provider. Raises LabError."""
    found = list(described)
    left = tuple(line for d in found for line in d.left)
    sections = {name: value for d in found for name, value in d.sections.items()}
    persona = _persona(host, login, sections, left)
    new = {f"personas/{host.persona}.yaml": persona.encode()}
    for part in found:
        for path, content in part.files.items():
            new[f"personas/{host.persona}/{path}"] = content
    written = [
        (f"personas/{host.persona}.yaml", ", ".join(_counts(sections)) or "nothing beyond Debian")
    ]
    if len(new) > 1:
        count = len(new) - 1
        written.append((f"personas/{host.persona}/", f"{count} file{'s' if count > 1 else ''}"))
    edited: dict[str, tuple[bytes, bytes]] = {}
    written += _inventory(inventory.root, host, provider, login, new, edited)
    if provider not in inventory.providers:
        written.append(_provider(inventory.root, provider, edited))
    return Draft(new, edited, Adopted(host.name, tuple(written), persona, left))


def _persona(
    host: Host, login: Login, sections: Mapping[str, Any], left: Sequence[tuple[str, str]]
) -> str:
    day = datetime.now(UTC).astimezone().strftime("%Y-%m-%d")
    where = "this machine" if login.address == "local" else f"{login.user}@{login.address}"
    lines = [
        f"# Written by `lab adopt host={host.name}`: what {where} was like on {day}.",
        "# From now on it is yours: group it, give it comments, take out what nobody needs.",
        yaml_text.block({"purpose": f"Taken over as it was on {day}"}).rstrip("\n"),
        yaml_text.block(sections).rstrip("\n") if sections else "system: {}",
    ]
    if left:
        lines += ["", f"# Not in here; `lab entropy host={host.name}` goes on telling of it:"]
        lines += [f"#   {_one_line(what)}: {_one_line(why)}" for what, why in left]
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _counts(sections: Mapping[str, Any]) -> list[str]:
    counts = []
    for section in sections.values():
        for name, value in section.items():
            if isinstance(value, (dict, list)):
                word = name if len(value) > 1 else name.removesuffix("s")
                counts.append(f"{len(value)} {word}")
            else:
                counts.append(name)
    return counts


def _inventory(
    root: Path,
    host: Host,
    provider: str,
    login: Login,
    new: dict[str, bytes],
    edited: dict[str, tuple[bytes, bytes]],
) -> list[tuple[str, str]]:
    """At the end of inventory/hosts.yaml; in a file of its own where nothing can be added there."""
    entry: dict[str, Any] = {
        "persona": host.persona,
        "provider": provider,
        "address": login.address,
    }
    if login.section():
        entry[KIND] = login.section()
    lines = yaml_text.block({host.name: entry})
    path = "inventory/hosts.yaml"
    try:
        before = (root / path).read_bytes()
    except OSError:
        before = b""
    after = yaml_text.with_key(before.decode(), path, "hosts", host.name, lines) if before else None
    if after is not None:
        edited[path] = (before, after.encode())
        return [(path, f"+ {host.name}")]
    own = f"inventory/{host.name}.yaml"
    new[own] = yaml_text.block({"hosts": {host.name: entry}}).encode()
    return [(own, f"+ {host.name}")]


def _provider(root: Path, provider: str, edited: dict[str, tuple[bytes, bytes]]) -> tuple[str, str]:
    before = (root / "lab.yaml").read_bytes()
    lines = f"{provider}: {{kind: {KIND}}}"
    after = yaml_text.with_key(before.decode(), "lab.yaml", "providers", provider, lines)
    if after is None:
        raise LabError(
            "Unable to add a provider to lab.yaml: it is not written in lines of its own.",
            hint=f"write it there yourself, under providers: {lines}; then the same command again",
        )
    edited["lab.yaml"] = (before, after.encode())
    return ("lab.yaml", f"+ provider {provider}, kind {KIND}")
