"""The driver named ``terraform``: what a machine is now, and one change at a time.

It is observed through the API, in one listing for all hosts and three reads a host; tofu plans and
carries out what differs. See docs/adr/0030.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from lab.clients.proxmox import Api, apis
from lab.errors import DriverError, PlanError
from lab.layer import Workspace
from lab.model.plan import Action, Change
from lab.model.template import Archive, Archived, ArchiveState
from layers.l2_instantiate import steps
from layers.l2_instantiate.drivers.terraform import guests, leaving_out, power, seen
from layers.l2_instantiate.drivers.terraform.archiving import Archiver
from layers.l2_instantiate.drivers.terraform.building import Builder
from layers.l2_instantiate.drivers.terraform.guests import Found
from layers.l2_instantiate.drivers.terraform.place import MACHINE, Place
from layers.l2_instantiate.drivers.terraform.project import Project, Tool
from layers.l2_instantiate.drivers.terraform.shelf import Shelf
from layers.l2_instantiate.drivers.terraform.trusted import environment
from layers.l2_instantiate.drivers.terraform.vault import Vault
from layers.l2_instantiate.machines import ROOT, Container
from layers.l2_instantiate.settings import marks, on
from layers.l2_instantiate.spec import Observed
from layers.l2_instantiate.wanted import REPLACE_ON, Machine, template_name


class TerraformDriver:
    """Virtual machines and containers of Proxmox VE 8 and 9, through OpenTofu and bpg/proxmox."""

    replace_on = REPLACE_ON

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def observe(self, target: Machine) -> Observed | None:
        """One list for all hosts; configuration and state of this one, and its shelf's."""
        api, place = self._api(target), Place(self._workspace, target.host.name)
        found = self._find(api, place)
        now = guests.running(api, found.machine) if found.machine else None
        observed = seen.observed(target, place, found, now)
        if observed is None or now is None or target.host.address or now.power != "running":
            return observed
        assert found.machine is not None  # noqa: S101 (now is of it)
        told = power.address(api, found.machine, target)
        return observed.model_copy(update={"address": told}) if told else observed

    def apply(self, target: Machine, change: Change) -> None:
        """Carry out one change; what an earlier, cut-off run did already is found and used."""
        api, place = self._api(target), Place(self._workspace, target.host.name)
        with self._project(target, place, api).locked() as project:
            api.touched()  # a tofu that was waited for may have changed anything
            self._apply(target, change, Builder(api, target, place, project))

    @contextmanager
    def archive(
        self, target: Machine, name: str, known: frozenset[str], *, live: bool
    ) -> Iterator[Archived]:
        """A copy of its boot disk on the provider's storage for backups."""
        api, place = self._api(target), Place(self._workspace, target.host.name)
        vault = self._vault(target, api)
        with self._project(target, place, api).locked():
            api.touched()
            found = self._find(api, place)
            guest, record = found.machine, place.read()
            if guest is None or not seen.is_whole(guest, record):
                raise DriverError(
                    f"Unable to capture the boot disk of {place.host}: it has no machine that is"
                    " whole.",
                    hint=f"lab plan host={place.host}",
                )
            here = replace(vault, node=guest.node)  # its storage may be that node's alone
            archiver = Archiver(api, target, place, guest, here)
            with archiver.archive(name, known, live=live) as archived:
                yield archived

    def inspect(self, target: Machine, archive: Archive) -> ArchiveState:
        """What its storage lists of it."""
        return self._vault_of(target, archive).inspect(archive)

    def retire(self, target: Machine, archives: Sequence[Archive]) -> None:
        """Note on each that it may go."""
        for archive in archives:
            self._vault_of(target, archive).retire([archive])

    def sweep(
        self, target: Machine, known: frozenset[str], also: Sequence[Archive] = ()
    ) -> tuple[str, ...]:
        """Remove this host's retired archives that are not known."""
        vaults = {self._vault_of(target, archive): None for archive in also}
        vaults |= {self._vault(target, self._api(target)): None}
        return tuple(name for vault in vaults for name in vault.sweep(known))

    def _vault(self, target: Machine, api: Api) -> Vault:
        """Raises PlanError where boot disks are not captured."""
        provider, host = on(target), target.host.name
        what = f"Unable to capture the boot disk of {host}"
        if isinstance(target.spec.machine, Container):
            raise PlanError(
                f"{what}: it is a container, and those are made from their definition.",
                hint=f"lab capture host={host}   (its data and its identity)",
            )
        if provider.backup_storage is None:
            raise PlanError(
                f"{what}: its provider {provider.name or 'of kind proxmox'} names no storage for"
                " backups.",
                hint="write backup_storage: local into the provider in lab.yaml; then: lab doctor",
            )
        node = Place(self._workspace, host).read().node or provider.node
        return Vault(api, self._workspace.lab, host, node, provider.backup_storage)

    def _vault_of(self, target: Machine, archive: Archive) -> Vault:
        """Where that archive lies. Raises DriverError where this provider does not reach it."""
        provider, host = on(target), target.host.name
        if provider.url != archive.place:
            raise DriverError(
                f"Unable to look at {archive.volume}, the boot disk of {host}: it lies at"
                f" {archive.place}, and {host} is at {provider.url} now.",
                hint=f"pvesm list {archive.storage}   (on {archive.node} there)",
            )
        api = self._api(target)
        return Vault(api, self._workspace.lab, host, archive.node, archive.storage)

    def _apply(self, target: Machine, change: Change, builder: Builder) -> None:
        api, place = builder.api, builder.place
        if place.read().archive is None:
            leaving_out.put_back(api, place)  # of a capture that was killed
        name = steps.disk_of(change.what)
        if name is not None:
            self._apply_disk(builder, name, change)
        elif change.what == steps.MACHINE:
            _apply_machine(builder, change)
        elif change.what == steps.MARK:
            self._adopt(builder)
        else:
            guest = builder.require(self._find(api, place))
            builder.bring_seed(guest.node)
            power.start(api, guest, target)
            power.await_up(api, guest, target, place)

    def _api(self, target: Machine) -> Api:
        return self._workspace.resource(apis).at(on(target))

    def _project(self, target: Machine, place: Place, api: Api) -> Project:
        provider = on(target)
        return Project(
            tool=self._workspace.resource(Tool),
            host=place.host,
            folder=place.project,
            env=environment(self._workspace, api.access, alone=provider.backend is None),
            mirror=provider.mirror,
            tell=target.report,
        )

    def _find(self, api: Api, place: Place) -> Found:
        record = place.read()
        return guests.find(api, place, machine=record.vmid, shelf=record.shelf)

    def _apply_disk(self, builder: Builder, name: str, change: Change) -> None:
        target, found = builder.target, self._find(builder.api, builder.place)
        if name == ROOT:
            guest = builder.require(found)
            builder.grow_root(guest)
            return
        shelf = Shelf(builder.api, target, builder.place, found.shelf)
        if change.action is Action.DELETE:
            shelf.drop(name)
            return
        disk = target.spec.machine.disks[name]
        if change.action is Action.CREATE:
            shelf.put(name, disk)
            return
        fields = {f.field for f in change.fields}
        if "size" in fields:
            shelf.resize(name, disk.size, found.machine)
        if "durable" in fields:
            shelf.remark(name, durable=disk.durable)

    def _adopt(self, builder: Builder) -> None:
        """What somebody else made gets our mark; its template counts as the declared one."""
        target, place, api = builder.target, builder.place, builder.api
        found = self._find(api, place)
        guest = found.machine or found.namesake
        if guest is None:
            raise DriverError(
                f"Unable to take {place.host} over: it is gone.", hint=f"lab plan host={place.host}"
            )
        mark = place.mark(MACHINE, template=template_name(target) or "")
        doing = f"take over VM {guest.vmid} for {place.host}"
        tags = ";".join(sorted({*guest.tags, *marks(place.host)}))
        api.put(f"{guest.path}/config", doing=doing, description=mark.text, tags=tags)
        place.note(vmid=guest.vmid, node=guest.node, whole=True)


def _apply_machine(builder: Builder, change: Change) -> None:
    if change.action is Action.UPDATE:
        builder.change(change)
    elif change.action is Action.CREATE:
        builder.clear()
        builder.make()
    elif change.action is Action.REPLACE:
        builder.remove()
        builder.empty_disposable()
        builder.make()
    else:
        builder.remove()
        builder.forget()
