"""The driver named ``docker``: what a machine is now, and one change at a time."""

from __future__ import annotations

from typing import Any

from lab.clients.docker import engines
from lab.layer import Workspace
from lab.model.mark import HOST, LAB, TEMPLATE
from lab.model.plan import Action, Change
from layers.l2_instantiate import keys, steps
from layers.l2_instantiate.drivers.docker import body, building, containers, volumes
from layers.l2_instantiate.drivers.docker.body import ssh_forward
from layers.l2_instantiate.drivers.docker.containers import Found
from layers.l2_instantiate.drivers.docker.place import Place, Record
from layers.l2_instantiate.drivers.docker.power import Patience, Power
from layers.l2_instantiate.machines import ROOT
from layers.l2_instantiate.spec import Observed, ObservedDisk
from layers.l2_instantiate.wanted import CONTAINER_REPLACE_ON, Machine, accelerator

_LIMITS = {"cpu", "memory"}


class DockerDriver:
    """Machines as systemd containers of a Docker engine on this machine, 20.10 or newer."""

    replace_on = CONTAINER_REPLACE_ON

    def __init__(self, workspace: Workspace, patience: Patience | None = None) -> None:
        self._workspace = workspace
        self._patience = patience or Patience()

    def observe(self, target: Machine) -> Observed | None:
        """Two questions to the engine, milliseconds each, and a small file."""
        place, weigh = self._place(target), target.absent
        found = containers.find(place.engine, place.name, place.host, sizes=weigh)
        disks = volumes.find(place, target.spec, sizes=weigh)
        record = place.read()
        if found is not None and not place.is_ours(found.labels):
            return Observed(
                exists=False,
                owned=False,
                owner=_owner(found),
                place=f"the container {place.name}",
                disks=disks,
            )
        if found is not None and found.is_whole:
            return _observed(target, place, found, record, disks)
        if found is None and record is None and not disks:
            return None
        exists = found is not None or record is not None
        return Observed(exists=exists, place=place.name, disks=disks)

    def apply(self, target: Machine, change: Change) -> None:
        """Carry out one change; what an earlier, cut-off run did already is found and used."""
        place = self._place(target)
        name = steps.disk_of(change.what)
        if name is not None:
            _apply_disk(target, place, name, change)
        elif change.what == steps.MACHINE:
            self._apply_machine(target, place, change)
        else:
            self._start(target, place)

    def _place(self, target: Machine) -> Place:
        engine = self._workspace.resource(engines).at(target.spec.engine or "")
        return Place(self._workspace, target.host.name, engine)

    def _power(self, target: Machine, place: Place) -> Power:
        return Power(target, place, self._patience)

    def _start(self, target: Machine, place: Place) -> None:
        found, record = building.require(place), place.read()
        if record is None or None in _given(place, found, record):
            building.inject(target, place, found)
        self._power(target, place).start(found)

    def _apply_machine(self, target: Machine, place: Place, change: Change) -> None:
        power = self._power(target, place)
        if change.action is Action.UPDATE:
            found = building.require(place)
            if any(f.field in _LIMITS for f in change.fields):
                building.change_limits(target, place, found)
            if any(f.field not in _LIMITS for f in change.fields):
                building.inject(target, place, found)
                if found.power == "running":
                    power.await_up()
            return
        found_before = containers.find(place.engine, place.name, place.host)
        if found_before is not None and place.is_ours(found_before.labels):
            # Without a durable disk there is nothing that an orderly end could save.
            durable = any(d.durable for d in volumes.find(place, target.spec).values())
            power.stop(found_before, at_once=not durable)
        if change.action is Action.DELETE:
            building.remove_machine(place)
            if target.spec.isolated:
                building.remove_network(place)
            return
        if change.action is Action.REPLACE:
            building.remove_container(place)
            volumes.empty_disposable(place, target.spec)
        power.start(building.make_container(target, place))


def _observed(
    target: Machine,
    place: Place,
    found: Found,
    record: Record | None,
    disks: dict[str, ObservedDisk],
) -> Observed:
    machine, about = target.spec.machine, place.engine.about()
    named = {place.volume(name): name for name in disks}
    where = {named.get(volume, volume): folder for volume, folder in found.volumes.items()}
    root = machine.disks[ROOT].size
    given: dict[str, Any] = {"answers": False}
    if record is not None and record.container == found.id:
        host_key, identity = _given(place, found, record)
        given = {
            "answers": record.answered,
            "user": record.user,
            "authorized_keys": record.authorized_keys,
            "host_key": host_key,
            "identity_file": str(place.login_key) if identity else None,
        }
    return Observed(
        place=f"the container {place.name}",
        power=found.power,
        accelerator=accelerator(target),
        template_name=found.labels.get(TEMPLATE) or None,
        cpu=body.cpu_found(machine, found.cpu, about),
        memory=body.memory_found(machine, found.memory, about),
        disks={ROOT: ObservedDisk(size=root, used=found.used), **disks},
        attached=tuple(sorted(where)),
        mounts=tuple(f"{name} at {where[name]}" for name in sorted(where)),
        root_at_boot=root,
        ports=tuple(str(f) for f in found.forwards if f != ssh_forward(found.port)),
        port=found.port,
        **given,
    )


def _given(place: Place, found: Found, record: Record) -> tuple[str | None, str | None]:
    """Host key and login key, where the container was given those that lie here."""
    if record.container != found.id:
        return None, None
    host_key, identity = keys.read_host_key(place), keys.read_login_key(place)
    return (
        host_key if host_key == record.host_key else None,
        identity if identity == record.identity else None,
    )


def _owner(found: Found) -> str:
    lab, host = found.labels.get(LAB), found.labels.get(HOST)
    return f"lab {lab} for its host {host}" if host else ""  # an image's labels are inherited


def _apply_disk(target: Machine, place: Place, name: str, change: Change) -> None:
    if change.action is Action.CREATE:
        volumes.make(place, target.spec, name)
    elif change.action is Action.DELETE:
        volumes.remove(place, name)
    else:
        place.write_mark(name, durable=target.spec.machine.disks[name].durable)
