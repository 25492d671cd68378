"""What is expected on the host, and how what is there differs from it. Pure.

Two sources say what is expected: the spec (files, images, health) and the record that was written
on the host when the deployment was well (containers: what Compose made of the files). Nothing of
Compose is imitated.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from lab.model.files import LabProject
from lab.model.plan import JSON, FieldDiff, digest
from layers.l4_workload.composition import read_project
from layers.l4_workload.spec import Container, ImageSource, Observed, Record, Workload

IMAGE_FORMAT = 1
"""Raised when the same source would make another image: then every image is made anew."""

ENVIRONMENT_FILE = ".env"
_SECRET = re.compile(r"(?i)pass|secret|token|key|credential|auth|private")
_SHOWN = 12
_EXECUTABLE = "+x"


def environment_file(spec: Workload) -> bytes | None:
    """The ``.env`` for the host: the user's own, then the variables (the last value counts)."""
    own = spec.compose.tree.get(ENVIRONMENT_FILE)
    if not spec.variables:
        return own.content if own is not None else None
    lines = [f'{name}="{_quoted(value)}"' for name, value in sorted(spec.variables.items())]
    before = own.content.rstrip(b"\n") + b"\n" if own is not None and own.content else b""
    return before + "\n".join(lines).encode() + b"\n"


def _quoted(value: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n"}
    return "".join(escapes.get(c, c) for c in value)


@lru_cache(maxsize=1024)
def _tree_digests(project: LabProject) -> Mapping[str, str]:
    pairs = zip(project.tree.names(), project.tree.files, strict=True)
    return {name: file_identity(file.sha256, executable=file.executable) for name, file in pairs}


def file_identity(sha256: str, *, executable: bool) -> str:
    """How a file is compared: its content, and whether it can be run."""
    return f"{sha256}{_EXECUTABLE}" if executable else sha256


def expected_files(spec: Workload) -> dict[str, str]:
    """Relative path to identity of all that belongs into the project's folder."""
    files = dict(_tree_digests(spec.compose))
    environment = environment_file(spec)
    if environment is not None:
        files[ENVIRONMENT_FILE] = hashlib.sha256(environment).hexdigest()
    return files


def definition(source: ImageSource) -> str:
    """What identifies an image that is made here: a hash over everything that it is made from."""
    files = {path: [f.sha256, f.executable] for path, f in source.files.items()}
    written = source.model_dump(mode="json", exclude={"files"})
    return digest([IMAGE_FORMAT, written, files])


def expected_images(spec: Workload) -> dict[str, str]:
    """Image name with tag to its definition."""
    return {name: definition(source) for name, source in spec.images.items()}


def expected_containers(spec: Workload) -> tuple[Container, ...]:
    """One running container a service, with what the file's text alone tells. For predictions."""
    composition = read_project(spec.compose)
    return tuple(
        Container(service=s.name, name=s.name, environment=dict(s.environment))
        for s in (composition.services if composition is not None else ())
        if not s.optional
    )


def desired(spec: Workload) -> Observed:
    """What observing finds when there is nothing to do."""
    files, containers = expected_files(spec), expected_containers(spec)
    return Observed(
        record=Record(finished=True, files=files, containers=containers),
        files=files,
        images=expected_images(spec),
        containers=containers,
        healthy=None if spec.health is None else True,
    )


def differences(spec: Workload, observed: Observed) -> tuple[FieldDiff, ...]:
    """Everything that is not as declared or not as it was deployed, one attribute each."""
    found = [*_image_differences(spec, observed), *_file_differences(spec, observed)]
    if observed.engine != "running":
        return (FieldDiff("engine", observed.engine, "running"), *found)
    if observed.record is None or not observed.record.finished:
        found.append(FieldDiff("deployment", "unfinished", "complete"))
    else:
        found += _container_differences(observed.record, observed)
    if observed.healthy is False and spec.health is not None:
        good = str(spec.health.status) if spec.health.http is not None else "open"
        found.append(FieldDiff(f"health {spec.health.title}", observed.answer, good))
    return tuple(found)


def _image_differences(spec: Workload, observed: Observed) -> Iterator[FieldDiff]:
    if observed.engine != "running":
        return
    for name, wanted in sorted(expected_images(spec).items()):
        there = observed.images.get(name)
        if there != wanted:
            yield FieldDiff(f"image {name}", there, wanted)


def _file_differences(spec: Workload, observed: Observed) -> Iterator[FieldDiff]:
    wanted = expected_files(spec)
    recorded = observed.record.files if observed.record is not None else {}
    for path in sorted(wanted.keys() | recorded.keys()):
        there = observed.files.get(path, recorded.get(path) if path not in wanted else None)
        if there != wanted.get(path):
            yield FieldDiff(f"file {path}", _short(there), _short(wanted.get(path)))


def _short(identity: str | None) -> str | None:
    if identity is None:
        return None
    return identity[:_SHOWN] + (_EXECUTABLE if identity.endswith(_EXECUTABLE) else "")


def _container_differences(record: Record, observed: Observed) -> Iterator[FieldDiff]:
    wanted = {c.title: c for c in record.containers}
    there = {c.title: c for c in observed.containers}
    for title in sorted(wanted.keys() | there.keys()):
        before, after = there.get(title), wanted.get(title)
        if before is not None and after is not None:
            yield from _one_container(before, after)
        elif before is None:
            yield FieldDiff(f"{title} state", None, after.state if after else None)
        else:
            yield FieldDiff(f"{title} state", before.state, None)


def _one_container(before: Container, after: Container) -> Iterator[FieldDiff]:
    title = after.title
    # Only what ran when all was well must run: a job that had ended may be run again by hand.
    if before.state != after.state and after.state == "running":
        yield FieldDiff(f"{title} state", describe(before), after.state)
    elif before.health == "unhealthy":
        yield FieldDiff(f"{title} health", before.health, "healthy")
    if before.image != after.image:
        yield FieldDiff(f"{title} image", _image(before), _image(after))
    yield from _environment_differences(title, before.environment, after.environment)
    pairs: tuple[tuple[str, JSON, JSON], ...] = (
        ("command", list(before.command), list(after.command)),
        ("mounts", list(before.mounts), list(after.mounts)),
        ("ports", list(before.ports), list(after.ports)),
    )
    tampered = [FieldDiff(f"{title} {name}", old, new) for name, old, new in pairs if old != new]
    yield from tampered
    same = before.environment == after.environment and before.image == after.image
    if before.config != after.config and same and not tampered:
        yield FieldDiff(f"{title} configuration", _short(before.config), _short(after.config))


def _environment_differences(
    title: str, before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[FieldDiff]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            secret = bool(_SECRET.search(name))
            yield FieldDiff(
                f"{title} environment {name}", before.get(name), after.get(name), secret=secret
            )


def _image(container: Container) -> str:
    return container.image.removeprefix("sha256:")[:_SHOWN]


def describe(container: Container) -> str:
    """``"exited (137)"``, ``"running"``, ``"running, unhealthy"``."""
    if container.state in {"exited", "dead"}:
        return f"{container.state} ({container.exit_code})"
    return f"{container.state}, {container.health}" if container.health else container.state


def to_recreate(spec: Workload, observed: Observed, project_folder: str) -> tuple[str, ...]:
    """Services that Compose would leave alone, although they are not what they should be.

    Compose looks only at its own hash of the configuration. It sees neither that a container is
    unhealthy, paused or was altered, nor that a file changed which the container has mounted.
    """
    changed = {d.field.removeprefix("file ") for d in _file_differences(spec, observed)}
    record = observed.record or Record()
    wanted = {c.title: c for c in record.containers}
    services = set()
    for there in observed.containers:
        after = wanted.get(there.title)
        altered = after is not None and there.config == after.config and _altered(there, after)
        if there.service and (altered or _mounts_one_of(there, changed, project_folder)):
            services.add(there.service)
    if not services and observed.healthy is False and not _anything_stopped(record, observed):
        services = {c.service for c in observed.containers if c.service}
    return tuple(sorted(services))


def _altered(there: Container, after: Container) -> bool:
    if there.state in {"paused", "restarting"} or there.health == "unhealthy":
        return True
    running = there.state == "running"
    return running and (
        there.environment != after.environment
        or there.command != after.command
        or there.mounts != after.mounts
        or there.ports != after.ports
    )


def _anything_stopped(record: Record, observed: Observed) -> bool:
    running = {c.title for c in observed.containers if c.state == "running"}
    return any(c.title not in running for c in record.containers if c.state == "running")


def _mounts_one_of(container: Container, changed: set[str], folder: str) -> bool:
    sources = [m.partition(":")[0] for m in container.mounts]
    return any(
        f"{folder}/{path}" == source or f"{folder}/{path}".startswith(f"{source}/")
        for path in changed
        for source in sources
    )
