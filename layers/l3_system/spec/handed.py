"""What is handed to another tool as it is: roles, playbooks, deploys and their values, checked."""

from __future__ import annotations

import ast
import configparser
import re
import warnings
from dataclasses import dataclass
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema

from lab.model.files import LabFile, LabProject, LabTree, Reader
from lab.model.secret import Secret, with_secrets

ROLES_ELSEWHERE = ("~/.ansible/roles", "/usr/share/ansible/roles", "/etc/ansible/roles")
"""Where Ansible looks for roles by itself."""
_ROLE = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_OF_YAML = re.compile(r"^(tasks|handlers|defaults|vars|meta)/.*\.ya?ml$")
_OF_INNER_ROLE = re.compile(r"^roles/[^/]+/")


@dataclass(frozen=True, slots=True)
class LabRole:
    """A role by its name; ``tree`` is ``None`` where only Ansible can find it (a collection's)."""

    name: str
    tree: LabTree | None = None


def role(value: Any, info: ValidationInfo) -> LabRole:
    """The role of that name: beside the persona, in the lab, or where Ansible looks itself."""
    if isinstance(value, LabRole):
        return value
    if not isinstance(value, str) or not _ROLE.match(value):
        raise ValueError(f"{value!r} is not a role's name: letters, digits, _ . and -")
    reader: Reader | None = (info.context or {}).get("reader")
    if reader is None:
        return LabRole(str(value))
    tree = _find(value, reader)
    for name, file in zip(tree.names(), tree.files, strict=True) if tree is not None else ():
        if _OF_YAML.match(name):
            _check_yaml(file)
    return LabRole(str(value), tree)


def _find(name: str, reader: Reader) -> LabTree | None:
    try:
        configured = roles_path(reader.file("ansible.cfg"))
    except ValueError:
        configured = ()
    elsewhere = tuple(path for path in configured if path.startswith(("/", "~")))
    for within in (path for path in configured if path not in elsewhere):
        try:
            return reader.folder(name, within)
        except ValueError:
            continue
    try:
        return reader.folder(name, "roles", (*elsewhere, *ROLES_ELSEWHERE))
    except ValueError:
        if "." in name:  # of a collection, or from Galaxy: Ansible's own search decides
            return None
        raise


def roles_path(file: LabFile) -> tuple[str, ...]:
    """``roles_path`` of an ansible.cfg; relative paths are meant from the lab's root."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(file.text)
    except (configparser.Error, UnicodeDecodeError):  # Ansible itself will tell, in its words
        return ()
    paths = parser.get("defaults", "roles_path", fallback="").split(":")
    return tuple(path.strip().removeprefix("./") for path in paths if path.strip())


def playbook(value: LabProject) -> LabProject:
    """A playbook and its folder, every YAML file in it that Ansible will read being YAML."""
    if value.main.content:
        _check_yaml(value.main)
    for name, file in zip(value.tree.names(), value.tree.files, strict=True):
        if _OF_YAML.match(_OF_INNER_ROLE.sub("", name)):
            _check_yaml(file)
    return value


def _check_yaml(file: LabFile) -> None:
    try:
        for _ in yaml.parse(file.text, Loader=yaml.CSafeLoader):
            pass
    except UnicodeDecodeError:
        raise ValueError(f"{file.path} is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file.path}:{mark.line + 1}:{mark.column + 1}" if mark else file.path
        raise ValueError(f"{where}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{file.path}: not YAML: {' '.join(str(error).split())}") from None


def deploy(value: LabProject) -> LabProject:
    """A deploy of pyinfra: a file of Python that can be compiled. It is not run here."""
    file = value.main
    if not file.path.endswith(".py"):
        raise ValueError(f"{file.path} is not a file of Python (.py)")
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(file.content, file.path)
    except SyntaxError as error:
        where = f"{file.path}:{error.lineno or 1}:{error.offset or 1}"
        raise ValueError(f"{where}: not Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{file.path}: not Python: {error}") from None
    return value


def _variables(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, dict):
        raise ValueError("a mapping (name: value) is expected here")  # noqa: TRY004
    for name in value:
        if not _VARIABLE.match(str(name)):
            raise ValueError(f"{name!r} is not a variable's name: letters, digits and _")
    return with_secrets(value, info)


def _named(value: Any) -> Any:
    """The value with the names of secrets in their places: plain JSON."""
    if isinstance(value, dict):
        return {k: _named(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_named(v) for v in value]
    return str(value) if isinstance(value, Secret) else value


Variables = Annotated[
    dict[str, Any],
    BeforeValidator(_variables),
    PlainSerializer(_named, when_used="json"),
    WithJsonSchema({"type": "object", "description": "values, also !secret ones"}),
]
"""Values for another tool; a secret among them is a :class:`lab.model.secret.Secret`."""

NamedRole = Annotated[
    LabRole,
    BeforeValidator(role),
    PlainSerializer(lambda r: r.name, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "description": "a folder in roles/, or Ansible's own"}),
]
"""A field that names a role and holds its files."""
