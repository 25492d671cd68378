"""What can be read from a Compose file without Compose: services, images, ports, binds.

Only for checks, predictions and titles. What Compose itself makes of a file (interpolation,
``extends``, profiles) is never guessed: such values are left out here, and the truth is read from
the containers after deploying.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from lab.model.files import LabFile, LabProject

_SHORT_PORT = re.compile(r"^(?:(?:\[[^\]]+\]|[\d.]+):)?(?P<host>\d+):\d+(?:/(?:tcp|udp))?$")


class _Loader(yaml.CSafeLoader):
    """YAML 1.1 as Compose reads it; its own tags (``!reset``, ``!override``) are let through."""


def _untagged(loader: Any, suffix: str, node: yaml.Node) -> Any:  # noqa: ARG001 (PyYAML's shape)
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node)
    return loader.construct_scalar(node)


_Loader.add_multi_constructor("!", _untagged)


@dataclass(frozen=True, slots=True)
class Service:
    """One service, as far as its text alone tells.

    ``ports`` are published host ports; ``None`` where that depends on something not in the text.
    """

    name: str
    image: str
    ports: tuple[int, ...] | None
    binds: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    optional: bool


@dataclass(frozen=True, slots=True)
class Composition:
    """A Compose file. ``whole`` is False where it takes in other files (include, extends)."""

    services: tuple[Service, ...]
    whole: bool


@lru_cache(maxsize=1024)
def read(file: LabFile) -> Composition:
    """The file's services, by name. Raises ValueError in words for its author."""
    try:
        document = yaml.load(file.content, Loader=_Loader)  # noqa: S506 (derived from the safe one)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{file.path} is not YAML{place}: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file.path} is not YAML: {error}") from error
    services = document.get("services") if isinstance(document, dict) else None
    included = isinstance(document, dict) and "include" in document
    if not included and (not isinstance(services, dict) or not services):
        raise ValueError(f"{file.path} has no services: a Compose file needs `services:`")
    bodies = services if isinstance(services, dict) else {}
    for name, body in bodies.items():
        if not isinstance(body, dict):
            raise ValueError(f"{file.path}: the service {name} is not a mapping")  # noqa: TRY004
    extended = any("extends" in body for body in bodies.values())
    found = tuple(_service(str(name), body) for name, body in sorted(bodies.items()))
    return Composition(found, whole=not included and not extended)


def read_project(project: LabProject) -> Composition | None:
    """The same; ``None`` for a project without content (a spec read back from the ledger)."""
    return read(project.main) if project.main.content else None


def _service(name: str, body: Mapping[str, Any]) -> Service:
    return Service(
        name=name,
        image=str(body.get("image", "")),
        ports=None if body.get("network_mode") == "host" else _ports(body.get("ports")),
        binds=tuple(_binds(body.get("volumes"))),
        environment=tuple(_environment(body.get("environment"))),
        optional="profiles" in body or _replicas(body) == 0,
    )


def _replicas(body: Mapping[str, Any]) -> Any:
    deploy = body.get("deploy")
    return body.get("scale", deploy.get("replicas") if isinstance(deploy, dict) else None)


def _ports(value: Any) -> tuple[int, ...] | None:
    found = []
    for port in value if isinstance(value, list) else []:
        published = port.get("published") if isinstance(port, dict) else port
        match = _SHORT_PORT.match(str(published))
        if match is not None:
            found.append(int(match["host"]))
        elif isinstance(port, dict) and str(published).isdigit():
            found.append(int(str(published)))
        else:  # a range, a variable, or a port that the engine picks
            return None
    return tuple(found)


def _binds(value: Any) -> list[str]:
    sources = []
    for volume in value if isinstance(value, list) else []:
        if isinstance(volume, dict):
            source = str(volume.get("source", "")) if volume.get("type") == "bind" else ""
        else:
            source = str(volume).partition(":")[0]
        if source.startswith("/"):
            sources.append(source.rstrip("/") or "/")
    return sources


def _environment(value: Any) -> list[tuple[str, str]]:
    if isinstance(value, list):
        pairs = [str(v).partition("=")[::2] for v in value if "=" in str(v)]
    elif isinstance(value, dict):
        pairs = [(str(k), str(v)) for k, v in value.items() if v is not None]
    else:
        pairs = []
    return sorted((k, v) for k, v in pairs if "$" not in v)
