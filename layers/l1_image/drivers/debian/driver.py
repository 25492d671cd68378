"""Templates of this machine: observed in their folder, built when they are not there."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.errors import DriverError
from lab.layer import Report, Target, Workspace
from lab.model.baseline import Baseline
from lab.model.plan import Action, Change, FieldDiff
from lab.model.template import Candidate, Template
from lab.model.units import show_size
from layers.l1_image import baseline as records
from layers.l1_image import disk, download, tree
from layers.l1_image.debian import RECIPE
from layers.l1_image.drivers.debian import admitting
from layers.l1_image.drivers.debian.store import Images, Kept
from layers.l1_image.spec import Inputs, Observed, Previous, Spec

_GIB = 1 << 30
_ROOM = 3 * _GIB  # tree, raw disk and qcow2 of a usual image stand side by side for a moment
_KIND = "template "
_ADMITTING = 3600.0
_COPIES = 4  # of a captured disk that stand side by side for a moment


class DebianDriver:
    """Builds Debian suites with mmdebstrap, and takes cloud images by URL and checksum."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._images = Images(workspace)

    def observe(self, target: Target[Spec, Inputs]) -> Observed:
        """The template, or where it will be; what this host uses until then."""
        name = target.spec.name
        kept = self._images.find(name)
        present = kept is not None and not kept.damaged
        before = None if present else self._images.used_by(target.host.name)
        return Observed(
            name=name,
            path=str(self._images.disk(name)),
            present=present,
            lent=not present and self._images.is_lent(name),
            damaged="" if kept is None else kept.damaged,
            users=() if kept is None else kept.users,
            baseline=self._images.baseline(name) if present else None,
            previous=(
                None
                if before is None or before.name == name
                else Previous(name=before.name, definition=before.definition)
            ),
        )

    def apply(self, target: Target[Spec, Inputs], change: Change) -> None:
        """Build or fetch it. What is there already, whole, is left alone."""
        spec, workspace = target.spec, self._workspace
        with self._images.building(spec.name, target.report, change.deadline) as folder:
            kept = self._images.find(spec.name)
            if kept is not None and not kept.damaged:
                return  # another run built it while this one waited
            if self._images.borrow(spec.name, folder):
                return
            self._check_room(spec.name, _ROOM)
            with self._images.logged(spec.name) as log:
                if spec.image.base.suite:
                    found = self._build(target, folder, log)
                else:
                    download.make(spec, folder, workspace, target.report)
                    found = Baseline()
                workspace.check()
                self._images.place(spec, folder, found, log)
        log.unlink(missing_ok=True)

    def unused(
        self, keep: frozenset[str], leaving: frozenset[str] = frozenset()
    ) -> tuple[Change, ...]:
        """Templates that no declared host needs and no machine that stays lies on.

        Those that were made of captures are left: only the capture can make them again.
        """
        return tuple(
            _removal(kept, "no host uses it")
            for kept in self._images.all()
            if kept.name not in keep and not set(kept.users) - leaving and not kept.captured
        )

    def spare(self, keep: frozenset[str]) -> tuple[Change, ...]:
        """Those that were made of captures, and are neither promoted nor used."""
        return tuple(
            _removal(kept, f"no host uses it; made of the capture {kept.captured}")
            for kept in self._images.all()
            if kept.name not in keep and not kept.users and kept.captured
        )

    def templates(self) -> tuple[Template, ...]:
        """Every template of this lab on this machine."""
        return tuple(
            Template(
                name=kept.name,
                size=kept.size,
                users=kept.users,
                made=kept.made,
                definition=kept.definition.model_dump(mode="json"),
                baseline=self._images.baseline(kept.name),
                captured=kept.captured,
                damaged=kept.damaged,
            )
            for kept in self._images.all()
        )

    def admit(self, candidate: Candidate, report: Report) -> None:
        """Make a template of a machine's boot disk, unless it is there already."""
        with self._images.building(candidate.name, report, _ADMITTING) as folder:
            kept = self._images.find(candidate.name)
            if kept is not None and not kept.damaged:
                return
            if kept is not None and kept.users:
                raise DriverError(
                    f"Unable to make the template {candidate.name} again: {kept.damaged}, and the"
                    f" disks of {', '.join(kept.users)} lie on it.",
                    hint=f"lab destroy host={kept.users[0]}   (durable disks are kept)",
                )
            named = admitting.named(candidate)
            self._check_room(candidate.name, _COPIES * candidate.disk.stat().st_size)
            try:
                found = admitting.make(candidate, folder, self._workspace, report)
                self._workspace.check()
                self._images.place(named, folder, found, captured=candidate.captured)
            except OSError as error:
                raise DriverError(
                    f"Unable to make the template {candidate.name}: {error.strerror or error}.",
                    hint=f"df -h {self._images.folder}",
                ) from error

    def prune(self, change: Change) -> None:
        """Delete one of those, unless a machine was put on it meanwhile."""
        self._images.delete(change.what.removeprefix(_KIND))

    def _build(self, target: Target[Spec, Inputs], folder: Path, log: Path) -> Baseline:
        spec, workspace = target.spec, self._workspace
        tree.make(spec, RECIPE, folder, workspace, target.report, log)
        found = records.read(folder / "tree", (folder / "units.txt").read_text())
        disk.make(spec, folder, workspace, target.report)
        return found

    def _check_room(self, name: str, needed: int) -> None:
        free = shutil.disk_usage(self._images.folder).free
        if free < needed:
            raise DriverError(
                f"Unable to make the template {name}: {show_size(needed)} of free space are "
                f"needed in {self._images.folder}, there are {show_size(free)}.",
                hint=f"df -h {self._images.folder}   (free some, or set XDG_STATE_HOME elsewhere)",
            )


def _removal(kept: Kept, why: str) -> Change:
    size = (FieldDiff("size", show_size(kept.size), None),)
    return Change(action=Action.DELETE, what=f"{_KIND}{kept.name}", fields=size, reason=why)
