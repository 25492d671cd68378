"""Templates of Proxmox VE: found by their marks, made when they are not there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

from lab.clients.proxmox import apis
from lab.errors import DriverError
from lab.layer import Report, Target, Workspace
from lab.model.plan import Action, Change, FieldDiff
from lab.model.proxmox import Proxmox, host_tag
from lab.model.template import ArchivedCandidate, Template
from layers.l1_image.buildroom import BuildRoom
from layers.l1_image.drivers.proxmox_template.adopting import Adopting
from layers.l1_image.drivers.proxmox_template.making import Making
from layers.l1_image.drivers.proxmox_template.records import Record, Records
from layers.l1_image.drivers.proxmox_template.shelf import Found, Shelf
from layers.l1_image.spec import Inputs, Observed, Spec

_KIND = "template "
_ADOPTING = 6 * 3600.0


class ProxmoxTemplateDriver:
    """Proxmox VE 8.4 and newer: disks come in as ``import`` content, by the API alone.

    A throwaway twin of a lab has none of its own: it clones from that lab's, which it finds by
    their marks, and makes, changes and removes none.
    """

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._records = Records(workspace.lender or workspace.state)
        self._lab = workspace.lender.name if workspace.lender else workspace.lab
        self._room = BuildRoom(workspace)

    def observe(self, target: Target[Spec, Inputs]) -> Observed:
        """The template, by its VMID; what is half made is told, and will be made anew."""
        spec, provider = target.spec, _provider(target)
        there = self._shelf(provider).find(spec.name)
        whole = next((found for found in there if found.ready), None)
        borrows = self._workspace.lender is not None  # what is half made is the lender's affair
        halves = [] if borrows else [str(found.vmid) for found in there if not found.ready]
        record = self._records.get(provider, spec.name)
        return Observed(
            name=spec.name,
            path="" if whole is None else str(whole.vmid),
            present=whole is not None,
            damaged=f"it was left half made (VM {', '.join(halves)})" if halves else "",
            baseline=record.baseline if whole is not None and record is not None else None,
            borrows=borrows,
        )

    def apply(self, target: Target[Spec, Inputs], change: Change) -> None:
        """Make it. What is there already, whole, is left alone."""
        name = target.spec.name
        if self._workspace.lender is not None:
            raise DriverError(f"Unable to make the template {name}: a twin makes none.")
        with self._room.building(name, target.report, change.deadline) as folder:
            with self._room.logged(name) as log:
                shelf = self._shelf(_provider(target))
                Making(target, self._workspace, shelf, self._records, folder, log).run()
            log.unlink(missing_ok=True)

    def unused(
        self, keep: frozenset[str], leaving: frozenset[str] = frozenset()
    ) -> tuple[Change, ...]:
        """Templates that no declared host needs, and no disk of a machine that stays lies on.

        And images that were left when a template was made of them. What is another lab's is not
        pruned by its twin.
        """
        if self._workspace.lender is not None:
            return ()
        templates = (
            Change(
                action=Action.DELETE,
                what=_what(shelf, found),
                fields=(FieldDiff("VMID", found.vmid, None),),
                reason="no host uses it",
            )
            for shelf, found in self._unneeded(keep, leaving)
        )
        images = (
            Change(Action.DELETE, _image(shelf, record), reason="its template is made")
            for shelf, record in self._left()
        )
        return (*templates, *images)

    def prune(self, change: Change) -> None:
        """Delete one of those, unless a machine was put on it meanwhile."""
        for shelf in self._shelves():
            for found in shelf.all():
                if _what(shelf, found) == change.what and shelf.destroy(found):
                    self._records.drop(shelf.provider.place, found.mark.template)
        for shelf, record in self._left():
            if _image(shelf, record) == change.what:
                shelf.drop_image(record.volume)
                self._records.without_image(record)

    def admit_archive(
        self, target: Target[Spec, Inputs], candidate: ArchivedCandidate, report: Report
    ) -> None:
        """Make a template of an archived boot disk, unless it is there already."""
        provider = _provider(target)
        with self._room.building(candidate.name, report, _ADOPTING):
            shelf = self._shelf(provider)
            Adopting(candidate, self._workspace, shelf, self._records, report).run()

    def templates(self) -> tuple[Template, ...]:
        """Every one in the places that this run looked at, and those on record in others."""
        places = {shelf.provider.place for shelf in self._shelves()}
        there = (
            _told(found, self._records.get(shelf.provider, found.mark.template))
            for shelf in self._shelves()
            for found in shelf.all()
        )
        elsewhere = (
            _recorded(record)
            for record in self._records.all()
            if record.made and record.place not in places
        )
        return (*there, *elsewhere)

    def spare(self, keep: frozenset[str]) -> tuple[Change, ...]:
        """Those that were made of captures, and are neither promoted nor used."""
        return tuple(
            Change(
                action=Action.DELETE,
                what=_what(shelf, found),
                fields=(FieldDiff("VMID", found.vmid, None),),
                reason=f"no host uses it; made of the capture {found.mark.captured}",
            )
            for shelf, found in self._unneeded(keep, frozenset(), captured=True)
        )

    def _unneeded(
        self, keep: frozenset[str], leaving: frozenset[str], *, captured: bool = False
    ) -> Iterator[tuple[Shelf, Found]]:
        """Those made of captures apart: only the capture can make them again."""
        for shelf in self._shelves():
            try:
                every = [f for f in shelf.all() if bool(f.mark.captured) is captured]
                ours = [f for f in every if _key(shelf, f) not in keep]
                clones = shelf.clones() if ours else {}
                gone = _machines(shelf, leaving) if clones else frozenset()
            except DriverError:
                continue  # what cannot be seen is not pruned
            for found in ours:
                if not clones.get(found.vmid, frozenset()) - gone:
                    yield shelf, found

    def _left(self) -> Iterator[tuple[Shelf, Record]]:
        """Images that nobody needs any more: their templates are ready."""
        shelves = {shelf.provider.place: shelf for shelf in self._shelves()}
        for record in self._records.all():
            shelf = shelves.get(record.place)
            if (
                shelf is not None
                and record.volume
                and any(found.ready for found in shelf.find(record.name))
            ):
                yield shelf, record

    def _shelf(self, provider: Proxmox) -> Shelf:
        self._workspace.resource(_Places).add(provider)
        api = self._workspace.resource(apis).at(provider)
        return Shelf(api, provider, self._lab)

    def _shelves(self) -> tuple[Shelf, ...]:
        return tuple(map(self._shelf, self._workspace.resource(_Places).all()))


class _Places:
    """The clusters that this run has to do with."""

    def __init__(self, workspace: Workspace) -> None:
        del workspace
        self._lock = threading.Lock()
        self._found: dict[str, Proxmox] = {}

    def add(self, provider: Proxmox) -> None:
        """One more."""
        with self._lock:
            self._found.setdefault(provider.place, provider)

    def all(self) -> tuple[Proxmox, ...]:
        """Each once."""
        with self._lock:
            return tuple(self._found.values())


def _provider(target: Target[Spec, Inputs]) -> Proxmox:
    provider = target.spec.proxmox
    assert provider is not None  # noqa: S101 (its parts have it)
    return provider


def _told(found: Found, record: Record | None) -> Template:
    known = Template(found.mark.template) if record is None else _recorded(record)
    known = replace(known, captured=found.mark.captured)
    return known if found.ready else replace(known, damaged="it was left half made")


def _recorded(record: Record) -> Template:
    return Template(
        name=record.name,
        size=record.size,
        made=record.made,
        definition=record.definition.model_dump(mode="json"),
        baseline=record.baseline,
    )


def _key(shelf: Shelf, found: Found) -> str:
    return f"{found.mark.template} on {shelf.provider.place}"


def _what(shelf: Shelf, found: Found) -> str:
    return f"{_KIND}{found.mark.template} (VM {found.vmid} of {shelf.node})"


def _image(shelf: Shelf, record: Record) -> str:
    return f"image {record.volume} of {shelf.node}"


def _machines(shelf: Shelf, hosts: frozenset[str]) -> frozenset[int]:
    """The machines of those hosts."""
    tags = {host_tag(host) for host in hosts}
    return frozenset(vm.vmid for vm in shelf.api.vms() if tags & vm.tags)
