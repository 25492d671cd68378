"""The driver named ``qemu``: what a machine is now, and one change at a time."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from lab.errors import DriverError, TransportError
from lab.layer import Workspace
from lab.model.plan import Action, Change
from lab.model.template import BootDisk
from layers.l2_instantiate import keys, network, steps
from layers.l2_instantiate.drivers.qemu import bootdisk, building, images, process
from layers.l2_instantiate.drivers.qemu.command import NETWORK, rule, ssh_forward
from layers.l2_instantiate.drivers.qemu.folder import Folder, Record, Settings
from layers.l2_instantiate.drivers.qemu.power import Patience, Power
from layers.l2_instantiate.drivers.qemu.process import Process
from layers.l2_instantiate.machines import ROOT
from layers.l2_instantiate.spec import Observed, ObservedDisk
from layers.l2_instantiate.wanted import REPLACE_ON, Machine


class QemuDriver:
    """Machines as QEMU processes, files under the lab's state, one monitor socket each."""

    replace_on = REPLACE_ON

    def __init__(self, workspace: Workspace, patience: Patience | None = None) -> None:
        self._workspace = workspace
        self._patience = patience or Patience()

    def observe(self, target: Machine) -> Observed | None:
        """A few small reads and, where it runs, one short talk with QEMU."""
        folder = Folder(self._workspace, target.host.name)
        with _told(f"look at {folder.host}"):
            disks = _disks(folder)
            record = folder.read()
            if record is not None:
                return _observed(folder, record, disks)
            foreign = building.is_foreign(folder)
            if not disks and not foreign:
                return None
            place = str(folder.home)
            return Observed(exists=False, owned=not foreign, place=place, disks=disks)

    def apply(self, target: Machine, change: Change) -> None:
        """Carry out one change; what an earlier, cut-off run did already is found and used."""
        folder = Folder(self._workspace, target.host.name)
        with _told(f"{change.action} {change.what} of {folder.host}"):
            self._apply(target, change, folder)

    @contextlib.contextmanager
    def boot_disk(self, target: Machine, *, live: bool) -> Iterator[BootDisk]:
        """A copy of the root disk and the template below it, in one qcow2 file."""
        folder = Folder(self._workspace, target.host.name)
        with (
            _told(f"copy the boot disk of {folder.host}"),
            bootdisk.boot_disk(target, folder, self._patience, live=live) as disk,
        ):
            yield disk

    def _apply(self, target: Machine, change: Change, folder: Folder) -> None:
        power = Power(target, folder, self._patience)
        name = steps.disk_of(change.what)
        if name is not None:
            _apply_disk(target, folder, name, change)
        elif change.what == steps.MACHINE:
            _apply_machine(target, folder, power, change)
        elif change.what == steps.PORTS:
            _apply_ports(target, folder)
        elif change.what == steps.POWER:
            power.resume()
        elif change.what == steps.BOOT:
            power.start()
        else:
            building.take_over(folder)


@contextlib.contextmanager
def _told(doing: str) -> Iterator[None]:
    """What this machine's file system refuses (no space, no right) is told as any failure is."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        hint = f"df -h {error.filename}" if error.errno == errno.ENOSPC and error.filename else ""
        raise DriverError(
            f"Unable to {doing}: {error.strerror or error}{where}.", hint=hint or "lab doctor"
        ) from error


def _observed(folder: Folder, record: Record, disks: dict[str, ObservedDisk]) -> Observed:
    settings = record.settings
    seen: dict[str, Any] = {
        "cpu": settings.cpu,
        "memory": settings.memory,
        "attached": settings.disks,
        "ports": settings.ports,
        "user": settings.user,
        "authorized_keys": settings.authorized_keys,
        "isolated": settings.isolated,
    }
    # One that ends while it is looked at is looked for again: half of it would be seen.
    while (found := process.find(folder, record)) is not None:
        now = _running(folder, record, found)
        if found.is_running():
            seen |= now
            break
    root = images.read_header(folder.root)
    if root is not None:
        size = ObservedDisk(size=root.size, used=images.used(folder.root))
        disks = {ROOT: size, **disks}
    owned = (record.lab, record.host) == (folder.workspace.lab, folder.host)
    return Observed(
        owned=owned,
        owner="" if owned else f"lab {record.lab} for its host {record.host}",
        place=str(folder.home),
        template_name=_template_name(record, root),
        disks=disks,
        root_at_boot=record.root_at_boot,
        port=record.port,
        host_key=_same(record.host_key, keys.read_host_key(folder)),
        identity_file=str(folder.login_key)
        if _same(record.identity, keys.read_login_key(folder))
        else None,
        **seen,
    )


def _running(folder: Folder, record: Record, found: Process) -> dict[str, Any]:
    """What only the process itself knows; its record may have been written since."""
    status = "unknown"
    ports = record.settings.ports
    with contextlib.suppress(TransportError, DriverError), found.monitor(folder.host, 1.0) as line:
        status = str(line.execute("query-status")["status"])
        mine = ssh_forward(record.port)
        ports = tuple(str(f) for f in sorted(process.forwards(line)) if f != mine)
    # A busy monitor, or a socket that was swept away, is no reason to think it stands still.
    power: Literal["running", "paused"] = (
        "running" if status in {"running", "unknown"} else "paused"
    )
    open_files = found.open_files()
    names = {f.name.removesuffix(".json") for f in folder.disks.glob("*.json")}
    names |= set(record.settings.disks)
    return {
        "power": power,
        "answers": record.answered,
        "accelerator": found.accelerator,
        "cpu": found.cpu,
        "memory": found.memory,
        "attached": tuple(sorted(n for n in names if _real(folder.disk(n)) in open_files)),
        "ports": ports,
        "isolated": found.isolated,
        "user": record.user,
        "authorized_keys": record.authorized_keys,
    }


def _disks(folder: Folder) -> dict[str, ObservedDisk]:
    """The disks with a life of their own."""
    disks: dict[str, ObservedDisk] = {}
    for path in sorted(folder.disks.glob("[!.]*.qcow2")):
        header, mark = images.read_header(path), folder.read_mark(path.stem)
        disks[path.stem] = ObservedDisk(
            size=header.size if header else 0,
            used=images.used(path),
            durable=mark is None or mark.durable,
            owned=mark is not None and mark.lab == folder.workspace.lab,
        )
    return disks


def _template_name(record: Record, root: images.Header | None) -> str:
    """The template's name while its file is the one that the root disk was made on."""
    if root is None or root.backing != record.template:
        return ""
    return record.template_name if images.stamp(Path(record.template)) == record.stamp else ""


def _real(path: Path) -> str:
    """As the kernel names an open file: without symbolic links."""
    return str(path.resolve())


def _same(given: str, found: str | None) -> str | None:
    """The key, where the guest was given the one that lies here."""
    return found if found and found == given else None


def _apply_machine(target: Machine, folder: Folder, power: Power, change: Change) -> None:
    if change.action is Action.DELETE:
        # Without a durable disk there is nothing that an orderly end could save.
        durable = any(d.durable for d in _disks(folder).values())
        power.stop(at_once=not durable)
        building.remove_machine(target, folder)
    elif change.action is Action.UPDATE:
        record = folder.require()
        building.change_settings(target, folder)
        if process.find(folder, record) is not None:
            power.restart()
    else:
        power.stop(at_once=change.action is Action.CREATE)
        if change.action is Action.REPLACE:
            building.blank_disposable(target, folder)
        building.make_machine(target, folder)
        power.start()


def _apply_disk(target: Machine, folder: Folder, name: str, change: Change) -> None:
    record = folder.read()
    found = process.find(folder, record) if record else None
    in_use = found is not None and _real(folder.disk(name)) in found.open_files()
    if change.action is Action.DELETE:
        if in_use:
            raise DriverError(
                f"Unable to remove disk {name} of {folder.host}: it is in use.",
                hint=f"lab plan host={folder.host}",
            )
        building.remove_disk(folder, name)
        return
    if change.action is Action.CREATE:
        building.make_disk(target, folder, name)
        return
    if name != ROOT:
        building.mark_disk(target, folder, name)
    size = target.spec.machine.disks[name].size
    header = images.read_header(folder.disk(name))
    if header is None:
        raise DriverError(
            f"Unable to grow disk {name} of {folder.host}: {folder.disk(name)} is no qcow2 file.",
            hint=f"qemu-img check {folder.disk(name)}",
        )
    if header.size >= size:
        return
    if found is not None and in_use:
        with found.monitor(folder.host) as monitor:
            monitor.execute("block_resize", device=name, size=size)
    else:
        images.grow(folder.disk(name), size, folder.host)


def _apply_ports(target: Machine, folder: Folder) -> None:
    record = folder.require()
    wanted = set(target.spec.machine.ports)
    found = process.find(folder, record)
    if found is not None:
        with found.monitor(folder.host) as monitor:
            mine = ssh_forward(record.port)
            there = {f for f in process.forwards(monitor) if f != mine}
            for forward in sorted(there - wanted):
                monitor.monitor(f"hostfwd_remove {NETWORK} {rule(forward).rsplit('-', 1)[0]}")
            for forward in sorted(wanted - there):
                answer = monitor.monitor(f"hostfwd_add {NETWORK} {rule(forward)}").strip()
                if answer:
                    raise network.taken(forward, folder.host)
    ports = Settings.of(target.spec).ports
    settings = record.settings.model_copy(update={"ports": ports})
    folder.write(record.model_copy(update={"settings": settings}))
