"""Hosts that another tool knows, as files of this lab: what is known is written, the rest told."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab.api import Lab
from lab.errors import ConfigError, LabError, Problem
from lab.model.declared import NAME
from lab.starter.newlab import write_new

EXISTING = "existing"
PERSONA = "imported"


@dataclass(frozen=True, slots=True)
class Found:
    """One host of another tool; ``None`` and empty is what it does not say.

    Attributes:
        name: As that tool names it.
        address: An IP address, with or without its prefix.
        memory: MiB.
        disks: Name to GiB; ``root`` is the first.
        login: ``user`` and ``port``, where they are said.
    """

    name: str
    address: str | None = None
    tags: tuple[str, ...] = ()
    vars: Mapping[str, Any] = field(default_factory=dict)
    cpu: int | None = None
    memory: int | None = None
    disks: Mapping[str, int] = field(default_factory=dict)
    login: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """The new files by their path, how many hosts they declare, and what a person must know."""

    files: Mapping[str, str]
    hosts: int
    told: tuple[str, ...]


def provider_of(lab: Lab, said: str | None) -> tuple[str, str]:
    """The provider's name and kind: as said, or the only one. Raises ConfigError."""
    known = lab.inventory.providers
    name = said or (next(iter(known)) if len(known) == 1 else "")
    if name not in known:
        what = f"unknown provider {name!r}" if name else "which provider? Write --provider NAME"
        raise ConfigError([Problem("", f"{what} (known: {', '.join(known)})")])
    return name, known[name]


def lab_files(
    found: Sequence[Found], told: Sequence[str], lab: Lab, provider: tuple[str, str], source: str
) -> Result:
    """The new files for a lab. Raises LabError where there is nothing to write."""
    notes = list(told)
    hosts: dict[str, Any] = {}
    for host in found:
        name = _label(host.name)
        if name is None:
            notes.append(f"{host.name}: left out, it cannot become a host's name")
        elif name in lab.inventory.hosts or name in hosts:
            notes.append(f"{host.name}: left out, a host {name} is declared already")
        else:
            if name != host.name:
                notes.append(f"{host.name}: is named {name} here")
            hosts[name] = _entry(host, name, provider, notes)
    if not hosts:
        raise LabError("Unable to import: there is no host in it that could be declared here.")
    head = f"# Written once by `lab import` from {source}; yours from now on.\n"
    schema = "# yaml-language-server: $schema=../.schemas/{}.schema.json\n"
    body = yaml.safe_dump({"hosts": hosts}, sort_keys=False, allow_unicode=True, width=100)
    files = {f"inventory/{_free(lab.root, source)}": schema.format("hosts") + head + body}
    if PERSONA not in lab.inventory.personas:
        files[f"personas/{PERSONA}.yaml"] = (
            schema.format("persona") + head + "purpose: Hosts that were imported\n"
        )
    return Result(files, len(hosts), tuple(notes))


def write(lab: Lab, result: Result) -> None:
    """Write them; taken away again where the lab is not valid with them (ConfigError)."""
    write_new(lab.root, result.files)
    try:
        with Lab.load(lab.root, lab.layers):
            pass
    except ConfigError:
        for name in result.files:
            (lab.root / name).unlink()
        raise


def _entry(host: Found, name: str, provider: tuple[str, str], notes: list[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"persona": PERSONA, "provider": provider[0]}
    if host.address is not None:
        try:
            ipaddress.ip_interface(host.address)
            entry["address"] = host.address
        except ValueError:
            notes.append(f"{name}: its address {host.address!r} is not an IP address: left out")
    tags = []
    for tag in host.tags:
        label = _label(tag)
        if label is None:
            notes.append(f"{name}: the group {tag!r} cannot become a tag: left out")
        elif label not in tags:
            tags.append(label)
    if tags:
        entry["tags"] = tags
    if provider[1] == EXISTING:
        if host.login:
            entry[EXISTING] = dict(host.login)
    else:
        _machine(host, name, entry, notes)
    if host.vars:
        entry["vars"] = dict(host.vars)
    return entry


def _machine(host: Found, name: str, entry: dict[str, Any], notes: list[str]) -> None:
    if host.login:
        notes.append(f"{name}: how to log in was left out; only machines of a provider of kind"
                     " existing are logged in to as they say")  # fmt: skip
    if host.cpu is None and host.memory is None and not host.disks:
        return
    if host.memory is None or "root" not in host.disks:
        notes.append(f"{name}: its machine was left out: memory or the first disk is not known")
        return
    disks: dict[str, Any] = {}
    for disk, size in host.disks.items():
        disks[disk] = {"size": f"{size}GiB"}
        if disk != "root":
            disks[disk]["durable"] = True
            notes.append(f"{name}: the disk {disk} is declared durable, so that nothing is lost")
    cpu = {} if host.cpu is None else {"cpu": host.cpu}
    entry["machine"] = {**cpu, "memory": f"{host.memory}MiB", "disks": disks}


def _label(text: str) -> str | None:
    """The first label of a host's name, or a group's name, as names are written here."""
    label = re.sub(r"[^a-z0-9-]+", "-", text.partition(".")[0].lower()).strip("-")
    return label if NAME.match(label) else None


def _free(root: Path, source: str) -> str:
    stem = f"imported-{source.split(maxsplit=1)[0].lower()}"
    names = (f"{stem}{'' if n == 1 else f'-{n}'}.yaml" for n in range(1, 1000))
    return next(n for n in names if not (root / "inventory" / n).exists())
