"""Boot disks that stay at their provider: a capture of one says where it lies, and holds nothing.

Whose it is stands in a note on the archive. It goes in an order that leaves nothing half done
behind: first the archive is marked as one that may go, then its capture is dropped, then what is
marked and belongs to no capture is removed. What a crash leaves, the next time finds by its mark; a
repository that was lost costs no archive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lab import faults
from lab.abilities import Archiving
from lab.config.datasets import DISK
from lab.engine import Engine
from lab.errors import DriverError, PlanError
from lab.journal import Journal
from lab.layer import Report, Target, Workspace, silent
from lab.model.host import Host
from lab.model.template import Archive, Archived, ArchiveState
from lab.recovery import reach
from lab.recovery.manifest import Manifest, merkle_root
from lab.recovery.repository import Capture, Repository


@dataclass(frozen=True)
class Keeper:
    """Who keeps a host's archives."""

    driver: Archiving
    target: Target[Any, Any]


@dataclass(frozen=True)
class Dropped:
    """What went, and what did not, each with the reason."""

    captures: tuple[Capture, ...] = ()
    stuck: tuple[str, ...] = ()


def keeper_of(
    engine: Engine, workspace: Workspace, host: Host, report: Report = silent
) -> Keeper | None:
    """``None``: its machine's provider keeps no archives."""
    layer = engine.layers[reach.machine_layer(engine.layers)]
    for part in host.parts.get(layer.name, ()):
        driver: object = layer.drivers[part.driver](workspace)
        if isinstance(driver, Archiving):
            inputs = layer.inputs.model_validate({})
            target: Target[Any, Any] = Target(host, part.spec, inputs, part.name, report=report)
            return Keeper(driver, target)
    return None


def is_archived(capture: Capture) -> bool:
    """Whether its content is in no repository."""
    return capture.data == DISK and not capture.parts


def archive_of(manifest: Manifest) -> Archive | None:
    """Where a manifest says that the content lies; ``None``: in the repository."""
    return Archive(**manifest.archive) if manifest.archive else None


def conclude(repository: Repository, manifest: Manifest, archived: Archived) -> Capture:
    """A capture of what was archived: it is called as the archive is."""
    archive = archived.archive
    return repository.conclude(
        replace(
            manifest,
            id=archive.id,
            at=archive.at,
            quiesced=archived.quiesced,
            size=archive.size,
            root=merkle_root((), archive.digest),
            archive=asdict(archive),
        )
    )


def inspected(repository: Repository, capture: Capture, keeper: Keeper | None) -> ArchiveState:
    """What is still there of a capture's archive. Raises DriverError where that is not it."""
    archive = _needed(repository, capture)
    if keeper is None:
        raise DriverError(
            f"Unable to look at {archive.volume}, the boot disk of {capture.host}: it lies at"
            f" {archive.place}, and its machine is somewhere else now.",
            hint=f"pvesm list {archive.storage}   (on {archive.node})",
        )
    state = keeper.driver.inspect(keeper.target, archive)
    if state.problem:
        raise DriverError(
            f"Unable to rely on the capture of {capture.data} of {capture.host}: {state.problem}.",
            hint=f"lab capture host={capture.host} --disk",
        )
    return state


def drop(
    repository: Repository,
    journal: Journal,
    keeper: Keeper | None,
    gone: Sequence[Capture],
    every: Iterable[Capture],
) -> Dropped:
    """Drop captures of one host's boot disk, of ``every`` one that there is, archives and all."""
    archives, going, stuck = [], [], []
    for capture in gone:
        why, archive = _retire(repository, keeper, capture) if is_archived(capture) else ("", None)
        archives += [archive] if archive is not None else []
        if why:
            stuck.append(why)
        else:
            going.append(capture)
    faults.point("archives.retired")
    repository.drop(going)
    for capture in going:
        journal.forget_capture(capture.host, capture.snapshot)
    faults.point("archives.dropped")
    if keeper is not None:
        left = frozenset(c.id for c in every) - {c.id for c in going}
        stuck += _sweep(keeper, left, archives)
    return Dropped(tuple(going), tuple(stuck))


def _retire(
    repository: Repository, keeper: Keeper | None, capture: Capture
) -> tuple[str, Archive | None]:
    """Why that cannot be (``""``: it is done), and the archive."""
    try:
        archive = _needed(repository, capture)
    except DriverError as error:
        return error.message.rstrip("."), None
    if keeper is None:
        return f"{archive.volume} is kept: the machine is somewhere else now", None
    try:
        keeper.driver.retire(keeper.target, [archive])
    except DriverError as error:
        return f"{archive.volume} is kept: {error.message.rstrip('.')}", None
    return "", archive


def _sweep(keeper: Keeper, left: frozenset[str], archives: Sequence[Archive]) -> list[str]:
    try:
        keeper.driver.sweep(keeper.target, left, archives)
    except PlanError:  # boot disks are not captured there (any more)
        return []
    except DriverError as error:
        return [f"what was dropped is not removed yet: {error.message.rstrip('.')}"]
    return []


def _needed(repository: Repository, capture: Capture) -> Archive:
    archive = archive_of(repository.manifest(capture))
    if archive is None:
        raise DriverError(
            f"Unable to rely on the capture of {capture.data} of {capture.host}: it says of no"
            " archive where it lies.",
            hint=f"lab capture host={capture.host} --disk",
        )
    return archive


__all__ = [
    "Dropped",
    "Keeper",
    "archive_of",
    "conclude",
    "drop",
    "inspected",
    "is_archived",
    "keeper_of",
]
