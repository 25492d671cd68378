"""Hosts out of an Ansible inventory (INI or YAML), with its ``group_vars`` and ``host_vars``.

Read as data: no template is filled in, no vault is opened, no plug-in or script is run.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab.errors import LabError
from lab.starter.imported import Found

MAX_HOSTS = 100_000
_DIGITS = 12
_RANGE = re.compile(r"\[(\w+):(\w+)(?::(\d+))?\]")
_HEADING = re.compile(r"^\[([^\]:]+)(?::(vars|children))?\]\s*(?:[#;].*)?$")
_ADDRESS = ("ansible_host", "ansible_ssh_host")
_LOGIN = {
    "ansible_user": "user",
    "ansible_ssh_user": "user",
    "ansible_port": "port",
    "ansible_ssh_port": "port",
    "ansible_ssh_private_key_file": "identity_file",
}


class Vault:
    """A value that only the vault's password opens."""


@dataclass
class _Group:
    hosts: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    vars: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Inventory:
    groups: dict[str, _Group] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def group(self, name: str) -> _Group:
        """That one, made on first use."""
        return self.groups.setdefault(name, _Group())

    def host(self, name: str, group: str, values: dict[str, Any]) -> None:
        """Enter a host, or every host of a range like ``web[01:20]``."""
        for one in expand(name):
            self.hosts.setdefault(one, {}).update(values)
            if one not in self.group(group).hosts:
                self.group(group).hosts.append(one)
            if len(self.hosts) > MAX_HOSTS:
                raise LabError(f"Unable to import: it has more than {MAX_HOSTS:,} hosts.")


def read(path: Path) -> tuple[list[Found], list[str]]:
    """The hosts in an inventory file, and what was not taken over. Raises LabError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise LabError(f"Unable to read the inventory {path}: {error}.") from error
    inventory = _Inventory()
    if path.suffix in {".yaml", ".yml", ".json"}:
        _from_yaml(_load(text, path), inventory)
    else:
        _from_ini(text, path, inventory)
    for name, group in inventory.groups.items():
        group.vars.update(_vars_beside(path.parent / "group_vars", name))
    everyone = _vars_beside(path.parent / "group_vars", "all")
    inventory.group("all").vars.update(everyone)
    found = []
    for name, own in inventory.hosts.items():
        own.update(_vars_beside(path.parent / "host_vars", name))
        found.append(_found(name, own, inventory))
    return found, inventory.told


def expand(name: str) -> list[str]:
    """``web[01:03]`` → ``web01 web02 web03``; ``db-[a:c]``; any other name is itself."""
    names = [name]
    while (match := _RANGE.search(names[0])) is not None:
        middle = _members(match[1], match[2], int(match[3] or 1))
        if not middle:
            break
        if len(names) * len(middle) > MAX_HOSTS:
            raise LabError(f"Unable to import {name}: it has more than {MAX_HOSTS:,} hosts.")
        names = [one.replace(match[0], part, 1) for one in names for part in middle]
    return names


def _members(first: str, last: str, step: int) -> Sequence[str]:
    """What a range stands for; nothing where it is none. Raises LabError for a huge one."""
    if step and first.isdecimal() and last.isdecimal() and max(len(first), len(last)) < _DIGITS:
        count = range(int(first), int(last) + 1, step)
        if len(count) > MAX_HOSTS:
            raise LabError(f"Unable to import: a range has more than {MAX_HOSTS:,} hosts.")
        return [str(n).zfill(len(first)) for n in count]
    if step and len(first) == len(last) == 1 and first.isalpha() and last.isalpha():
        return [chr(n) for n in range(ord(first), ord(last) + 1, step)]
    return ()


def _from_ini(text: str, path: Path, inventory: _Inventory) -> None:
    group, kind = "ungrouped", None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(("#", ";")):
            continue
        heading = _HEADING.match(line)
        if heading is not None:
            group, kind = heading[1].strip(), heading[2]
            inventory.group(group)
        elif kind == "children":
            inventory.group(group).children.append(line.split()[0])
        elif kind == "vars":
            key, _, value = line.partition("=")
            inventory.group(group).vars[key.strip()] = _scalar(value.strip())
        else:
            _host_line(line, group, f"{path.name}:{number}", inventory)


def _host_line(line: str, group: str, where: str, inventory: _Inventory) -> None:
    try:
        name, *words = shlex.split(line, comments=True)
    except ValueError as error:
        inventory.told.append(f"{where}: left out, {error}")
        return
    if not name:
        inventory.told.append(f"{where}: left out, a host without a name")
        return
    values = {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            values[key] = _scalar(value)
        else:
            inventory.told.append(f"{where}: {word!r} is not understood")
    inventory.host(name, group, values)


def _from_yaml(document: Any, inventory: _Inventory) -> None:
    if not isinstance(document, dict):
        raise LabError("Unable to import: this is not an Ansible inventory.")
    for name, body in document.items():
        _yaml_group(str(name), body, inventory)


def _yaml_group(name: str, body: Any, inventory: _Inventory, depth: int = 0) -> None:
    group = inventory.group(name)
    if not isinstance(body, dict) or depth > 50:  # noqa: PLR2004 (deeper than any that is meant)
        return
    group.vars.update(body.get("vars") or {})
    for host, values in (body.get("hosts") or {}).items():
        own = values if isinstance(values, dict) else {}
        inventory.host(str(host), name, {str(k): v for k, v in own.items()})
    for child, inner in (body.get("children") or {}).items():
        if str(child) not in group.children:
            group.children.append(str(child))
        _yaml_group(str(child), inner, inventory, depth + 1)


def _found(name: str, own: dict[str, Any], inventory: _Inventory) -> Found:
    groups = _groups_of(name, inventory)
    merged: dict[str, Any] = dict(inventory.group("all").vars)
    for group in groups:
        merged.update(inventory.groups[group].vars)
    merged.update(own)
    address = next((merged[k] for k in _ADDRESS if k in merged), None)
    login: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    for key, value in merged.items():
        if _has_vault(value):
            inventory.told.append(f"{name}: {key} is in a vault: left out (lab secrets keeps such)")
        elif key in _LOGIN:
            login[_LOGIN[key]] = value
        elif key.startswith("ansible_"):
            if key not in _ADDRESS:
                inventory.told.append(f"{name}: {key} means nothing here: left out")
        else:
            kept[key] = value
            if "{{" in str(value):
                inventory.told.append(f"{name}: {key} is a template and was kept as it is written")
    tags = tuple(g for g in groups if g not in {"all", "ungrouped"})
    return Found(name, None if address is None else str(address), tags, kept, login=login)


def _groups_of(host: str, inventory: _Inventory) -> list[str]:
    """Its groups, parents before their children, so that what is nearer wins."""
    own = {n for n, g in inventory.groups.items() if host in g.hosts}
    depth: dict[str, int] = {}

    def visit(name: str, via: tuple[str, ...]) -> int:
        if name in via:
            return 0
        if name not in depth:
            above = [p for p, g in inventory.groups.items() if name in g.children]
            depth[name] = max((visit(p, (*via, name)) + 1 for p in above), default=0)
        return depth[name]

    todo = list(own)
    while todo:
        name = todo.pop()
        visit(name, ())
        more = {p for p, g in inventory.groups.items() if name in g.children} - own
        own |= more
        todo += more
    return sorted(own - {"all"}, key=lambda n: (depth[n], n))


def _vars_beside(folder: Path, name: str) -> dict[str, Any]:
    """``NAME``, ``NAME.yml``, ``NAME.yaml`` or every file in the folder ``NAME``."""
    if "/" in name or name in {"", ".", ".."}:
        return {}
    paths = [folder / name, folder / f"{name}.yml", folder / f"{name}.yaml"]
    inside = sorted(p for p in paths[0].glob("*") if p.is_file()) if paths[0].is_dir() else []
    merged: dict[str, Any] = {}
    for path in [*(p for p in paths if p.is_file()), *inside]:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise LabError(f"Unable to read {path}: {error}.") from error
        if text.startswith("$ANSIBLE_VAULT"):
            merged[f"(the file {path.name})"] = Vault()
            continue
        values = _load(text, path)
        if isinstance(values, dict):
            merged.update({str(k): v for k, v in values.items()})
    return merged


def _load(text: str, path: Path) -> Any:
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader: Any = type("Inventory", (base,), {})
    loader.add_constructor("!vault", lambda *_: Vault())
    loader.add_constructor("!unsafe", lambda made, node: made.construct_scalar(node))
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506 (a safe loader that knows two tags)
    except yaml.YAMLError as error:
        first = str(error).replace("\n", " ")
        raise LabError(f"Unable to read {path}: it is not YAML ({first}).") from error


def _has_vault(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_vault(v) for v in value.values())
    if isinstance(value, list):
        return any(_has_vault(v) for v in value)
    return isinstance(value, Vault)


def _scalar(text: str) -> Any:
    """INI values are Python literals where they can be, as Ansible reads them."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, (str, int, float, bool, list, dict)) else text
