"""Templates of containers: looked for in the engine, built on this machine when not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lab.clients.docker import Refused, engines
from lab.clients.process import run
from lab.errors import DriverError, TransportError
from lab.layer import Target, Workspace
from lab.model.plan import Action, Change, FieldDiff
from lab.model.template import Template
from lab.model.units import show_size
from layers.l1_image import baseline as records
from layers.l1_image import tree
from layers.l1_image.buildroom import BuildRoom
from layers.l1_image.drivers.container.recipe import INIT, RECIPE
from layers.l1_image.drivers.container.shelf import Kept, Shelf
from layers.l1_image.spec import Inputs, Observed, Previous, Spec

_ROOM = 2 << 30  # tree and archive of a usual image stand side by side for a moment
_KIND = "template "
_PIECE = 1 << 20
_CONFLICT = 409


class ContainerDriver:
    """Builds Debian suites with mmdebstrap, and imports them into a Docker engine."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._room = BuildRoom(workspace)

    def observe(self, target: Target[Spec, Inputs]) -> Observed:
        """One look at the engine; what this host uses until then, where it is not there."""
        name, shelf = target.spec.name, self._shelf(target)
        kept = shelf.find(name)
        observed = Observed(name=name, path=shelf.reference(name), present=kept is not None)
        if kept is not None:
            return observed.model_copy(update={"baseline": kept.baseline})
        foreign = f"an image {shelf.reference(name)}" if shelf.is_taken(name) else ""
        before = shelf.used_by(target.host.name)
        previous = (
            None
            if before is None or before.name == name
            else Previous(name=before.name, definition=before.definition)
        )
        return observed.model_copy(update={"foreign": foreign, "previous": previous})

    def apply(self, target: Target[Spec, Inputs], change: Change) -> None:
        """Build it. What another run or another lab built already is taken as it is."""
        spec, shelf = target.spec, self._shelf(target)
        with self._room.building(spec.name, target.report, change.deadline) as folder:
            if shelf.find(spec.name) is not None or shelf.take_along(spec.name):
                return
            self._check_room(spec)
            with self._room.logged(spec.name) as log:
                self._build(target, shelf, folder, log)
        log.unlink(missing_ok=True)

    def unused(
        self, keep: frozenset[str], leaving: frozenset[str] = frozenset()
    ) -> tuple[Change, ...]:
        """Templates that no declared host needs and no container that stays was made from."""
        unneeded = {kept.name: kept for kept, _ in self._unneeded(keep, leaving)}
        return tuple(
            Change(
                action=Action.DELETE,
                what=f"{_KIND}{kept.name}",
                fields=(FieldDiff("size", show_size(kept.size), None),),
                reason="no host uses it",
            )
            for kept in unneeded.values()
        )

    def spare(self, keep: frozenset[str]) -> tuple[Change, ...]:  # noqa: ARG002 (the protocol's)
        """Nothing: every one is built from its definition."""
        return ()

    def templates(self) -> tuple[Template, ...]:
        """Every template of this lab in the engines that it uses and that answer."""
        return tuple(
            Template(
                name=kept.name,
                size=kept.size,
                users=tuple(sorted(shelf.users(kept.name))),
                definition=kept.definition.model_dump(mode="json"),
                baseline=kept.baseline,
            )
            for kept, shelf in self._all()
        )

    def prune(self, change: Change) -> None:
        """Delete one of those, unless a container was made from it meanwhile."""
        name = change.what.removeprefix(_KIND)
        for kept, shelf in self._unneeded(frozenset(), frozenset()):
            if kept.name != name:
                continue
            try:
                shelf.drop(name)
            except Refused as refused:
                if refused.status != _CONFLICT:  # somebody runs it
                    raise

    def _unneeded(
        self, keep: frozenset[str], leaving: frozenset[str]
    ) -> Iterator[tuple[Kept, Shelf]]:
        for kept, shelf in self._all():
            if kept.name not in keep and not shelf.users(kept.name) - leaving:
                yield kept, shelf

    def _all(self) -> Iterator[tuple[Kept, Shelf]]:
        pool = self._workspace.resource(engines)
        for engine in pool.used() or (pool.at(""),):
            shelf = Shelf(engine, self._workspace.lab)
            try:
                yield from [(kept, shelf) for kept in shelf.all()]
            except TransportError:
                continue  # what cannot be seen is not pruned

    def _shelf(self, target: Target[Spec, Inputs]) -> Shelf:
        engine = self._workspace.resource(engines).at(target.spec.engine or "")
        return Shelf(engine, self._workspace.lab)

    def _build(self, target: Target[Spec, Inputs], shelf: Shelf, folder: Path, log: Path) -> None:
        spec, workspace = target.spec, self._workspace
        tree.make(spec, RECIPE, folder, workspace, target.report, log)
        found = records.read(folder / "tree", (folder / "units.txt").read_text())
        target.report("pack the tree")
        options = ("--numeric-owner", "--xattrs", "--xattrs-include=*", "--exclude=./dev/*")
        run(
            [*tree.namespaces(), "tar", "-C", "tree", *options, "-cf", "root.tar", "."],
            doing=f"pack the template {spec.name}",
            deadline=600,
            cancelled=workspace.cancelled,
            cwd=folder,
        )
        shelf.put(spec, found, self._pieces(target, folder / "root.tar"), INIT)

    def _pieces(self, target: Target[Spec, Inputs], archive: Path) -> Iterator[bytes]:
        total = archive.stat().st_size
        with archive.open("rb") as file:
            while piece := file.read(_PIECE):
                self._workspace.check()
                target.report("import into Docker", min(file.tell(), total), total)
                yield piece

    def _check_room(self, spec: Spec) -> None:
        free = shutil.disk_usage(self._room.folder).free
        if free < _ROOM:
            raise DriverError(
                f"Unable to build the template {spec.name}: {show_size(_ROOM)} of free space are "
                f"needed in {os.fspath(self._room.folder)}, there are {show_size(free)}.",
                hint=f"df -h {self._room.folder}   (free some, or set XDG_STATE_HOME elsewhere)",
            )
