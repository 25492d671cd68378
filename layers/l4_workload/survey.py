"""Containers, volumes, networks and images that no declared workload owns. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.model.undeclared import Sort, Undeclared, ordered
from layers.l4_workload.remote.probe import ENGINE, IMAGE_LABEL, PROJECT, SOCKET

DEADLINE = 60.0
_MARK = "==strata-survey=="
_ANONYMOUS = re.compile(r"^[0-9a-f]{64}$")
_OF_DOCKER = {"bridge", "host", "none"}
_UNTAGGED = "<none>:<none>"
_SHORT = 12

# Sizes are measured last, at the lowest priority and for a bounded time.
_SCRIPT = r"""
mark() { printf '\nMARK %s\n' "$1"; }
ENGINE
if [ $engine = running ] && [ $way = curl ]; then
  ask() { curl -sS --max-time 20 --unix-socket SOCKET "http://localhost$1"; }
  mark containers; ask '/containers/json?all=1'
  mark volumes; ask /volumes
  mark networks; ask /networks
  mark images; ask /images/json
elif [ $engine = running ] && [ $way = docker ]; then
  mark containers; set -- $(docker ps -aq); [ $# = 0 ] || docker container inspect "$@"
  mark volumes; set -- $(docker volume ls -q); [ $# = 0 ] || docker volume inspect "$@"
  mark networks; set -- $(docker network ls -q); [ $# = 0 ] || docker network inspect "$@"
  mark images; set -- $(docker images -q); [ $# = 0 ] || docker image inspect "$@"
fi
if [ $engine = running ]; then
  mark sizes; set --
  for d in /var/lib/docker/volumes/*/_data; do [ ! -d "$d" ] || set -- "$@" "$d"; done
  bounded=; if command -v timeout >/dev/null 2>&1; then bounded="timeout 15"; fi
  if command -v nice >/dev/null 2>&1; then bounded="$bounded nice -n 19"; fi
  [ $# = 0 ] || $bounded du -xsk -- "$@" 2>/dev/null
fi
mark end
"""


@dataclass(frozen=True, slots=True)
class Engine:
    """Everything that an engine has, as it describes it (two shapes: its API's and its program's).

    ``sizes``: bytes by volume.
    """

    containers: tuple[Mapping[str, Any], ...] = ()
    volumes: tuple[Mapping[str, Any], ...] = ()
    networks: tuple[Mapping[str, Any], ...] = ()
    images: tuple[Mapping[str, Any], ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)


def script() -> str:
    """The look: it only reads, and never starts an engine that does not run."""
    return (
        _SCRIPT.replace("MARK", _MARK)
        .replace("ENGINE", ENGINE.format(socket=SOCKET))
        .replace("SOCKET", SOCKET)
    )


def read(answer: str) -> Engine | None:
    """What the engine has; ``None``: the answer is cut short. Raises ValueError."""
    parts: dict[str, str] = {}
    for piece in answer.split(f"\n{_MARK} ")[1:]:
        name, _, body = piece.partition("\n")
        parts[name.strip()] = body
    if "end" not in parts:
        return None
    sizes = (line.split("\t", 1) for line in parts.get("sizes", "").splitlines() if "\t" in line)
    return Engine(
        containers=_objects(parts.get("containers", "")),
        volumes=_objects(parts.get("volumes", "")),
        networks=_objects(parts.get("networks", "")),
        images=_objects(parts.get("images", "")),
        sizes={path.split("/")[-2]: int(size) * 1024 for size, path in sizes},
    )


def _objects(text: str) -> tuple[Mapping[str, Any], ...]:
    value = json.loads(text) if text.strip() else []
    if isinstance(value, dict):
        value = value.get("Volumes") or []
    found = value if isinstance(value, list) else []
    return tuple(v for v in found if isinstance(v, dict))


def undeclared(engine: Engine, workloads: Collection[str]) -> tuple[Undeclared, ...]:
    """What belongs to none of these workloads."""
    mine = [c for c in engine.containers if _project(c) in workloads]
    return ordered(
        [
            *_containers(engine.containers, workloads),
            *_volumes(engine, mine, workloads),
            *_networks(engine.networks, workloads),
            *_images(engine.images, mine),
        ]
    )


def projects(engine: Engine) -> tuple[tuple[str, str], ...]:
    """What runs: each Compose project with where its file lies, each container of none."""
    found: dict[str, str] = {}
    for container in engine.containers:
        project = _project(container)
        if not project:
            found[f"container {_name(container)}"] = "it belongs to no Compose project"
            continue
        files = _labels(container).get("com.docker.compose.project.config_files", "")
        where = files or "nobody knows where"
        found[f"Compose project {project}"] = (
            f"its file is {where}: copy it beside the persona, declare it under workloads, "
            "then converge with --adopt"
        )
    return tuple(sorted(found.items()))


def _containers(
    containers: Iterable[Mapping[str, Any]], workloads: Collection[str]
) -> Iterator[Undeclared]:
    for container in containers:
        if _project(container) in workloads:
            continue
        state = container.get("State")
        status = state.get("Status", "") if isinstance(state, dict) else str(state or "")
        image = str((container.get("Config") or {}).get("Image") or container.get("Image") or "")
        project = f"of the project {_project(container)}, " if _project(container) else ""
        yield Undeclared(Sort.CONTAINER, _name(container), f"{project}{status}, {image}")


def _volumes(
    engine: Engine, mine: Iterable[Mapping[str, Any]], workloads: Collection[str]
) -> Iterator[Undeclared]:
    used = {str(m.get("Name")) for c in mine for m in c.get("Mounts") or () if m.get("Name")}
    for volume in engine.volumes:
        name = str(volume.get("Name", ""))
        if name in used or _project(volume) in workloads:
            continue
        users = [_name(c) for c in engine.containers if _mounts(c, name)]
        detail = f"of {', '.join(users)}" if users else "used by nothing"
        shown = f"{name[:_SHORT]} (anonymous)" if _ANONYMOUS.match(name) else name
        yield Undeclared(Sort.VOLUME, shown, detail, engine.sizes.get(name))


def _networks(
    networks: Iterable[Mapping[str, Any]], workloads: Collection[str]
) -> Iterator[Undeclared]:
    for network in networks:
        name = str(network.get("Name", ""))
        if name not in _OF_DOCKER and _project(network) not in workloads:
            project = _project(network)
            yield Undeclared(Sort.NETWORK, name, f"of the project {project}" if project else "")


def _images(
    images: Iterable[Mapping[str, Any]], mine: Iterable[Mapping[str, Any]]
) -> Iterator[Undeclared]:
    used = {str(c.get("ImageID") or c.get("Image")) for c in mine}
    untagged = 0
    size = 0
    for image in images:
        if str(image.get("Id")) in used or IMAGE_LABEL in _labels(image):
            continue
        tags = [t for t in image.get("RepoTags") or () if t != _UNTAGGED]
        if not tags:
            untagged += 1
            size += int(image.get("Size") or 0)
        for tag in tags:
            yield Undeclared(Sort.IMAGE, str(tag), size=int(image.get("Size") or 0))
    if untagged:
        yield Undeclared(Sort.IMAGE, "(without a name)", f"{untagged} of them", size)


def _labels(thing: Mapping[str, Any]) -> Mapping[str, str]:
    return thing.get("Labels") or (thing.get("Config") or {}).get("Labels") or {}


def _project(thing: Mapping[str, Any]) -> str:
    return _labels(thing).get(PROJECT, "")


def _name(container: Mapping[str, Any]) -> str:
    names = container.get("Names") or [container.get("Name") or container.get("Id", "")]
    return str(names[0]).lstrip("/")


def _mounts(container: Mapping[str, Any], volume: str) -> bool:
    return any(m.get("Name") == volume for m in container.get("Mounts") or ())
