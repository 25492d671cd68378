"""What lies on disk for a machine: made, grown, taken over, removed. Safe to repeat."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from pathlib import Path

from lab.errors import DriverError, NotOwned
from lab.faults import point
from layers.l2_instantiate import network
from layers.l2_instantiate.drivers.qemu import images
from layers.l2_instantiate.drivers.qemu.folder import Folder, Record, Settings
from layers.l2_instantiate.machines import ROOT
from layers.l2_instantiate.wanted import Machine


def make_machine(target: Machine, folder: Folder) -> None:
    """A root disk on the template, and the record that goes with it. Nothing must run."""
    template = target.inputs.template
    if template is None:
        raise DriverError(
            f"Unable to make {folder.host}: it has no template yet.",
            hint=f"lab converge l1 host={folder.host}",
        )
    record = _claim(target, folder)
    before = record.template
    point("l2.machine.marked")
    _use(Path(template), folder.host)
    target.report("making the root disk")
    size = target.spec.machine.disks[ROOT].size
    images.make_overlay(folder.root, Path(template), size, folder.host)
    folder.firmware_vars.unlink(missing_ok=True)
    point("l2.machine.root")
    made = record.model_copy(
        update={
            "generation": record.generation + 1,
            "template": template,
            "template_name": target.inputs.template_name or "",
            "stamp": images.stamp(Path(template)),
            "settings": Settings.of(target.spec),
            "answered": False,
        }
    )
    folder.write(made)
    point("l2.machine.made")
    if before and Path(before).parent != Path(template).parent:
        _leave(Path(before), folder.host)


def change_settings(target: Machine, folder: Folder) -> None:
    """Record what the machine is started with from now on."""
    record = folder.require()
    folder.write(record.model_copy(update={"settings": Settings.of(target.spec)}))


def take_over(folder: Folder) -> None:
    """Put our mark on a machine of somebody else's."""
    record = folder.read()
    if record is not None:
        mark = {"lab": folder.workspace.lab, "host": folder.host}
        folder.write(record.model_copy(update=mark))


def remove_machine(target: Machine, folder: Folder) -> None:
    """Everything that goes with the machine; its record last, so that a crash leaves it ours."""
    record = folder.read()
    if record is not None and record.template:
        _leave(Path(record.template), folder.host)
    if record is None and not target.adopt and is_foreign(folder):
        raise NotOwned(f"Unable to remove {folder.home}: this lab did not make it.")
    shutil.rmtree(folder.host_keys, ignore_errors=True)
    if not folder.home.exists():
        return
    for entry in folder.home.iterdir():
        if entry == folder.record:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
        point("l2.machine.removing")
    folder.record.unlink(missing_ok=True)
    folder.home.rmdir()


def make_disk(target: Machine, folder: Folder, name: str) -> None:
    """A blank disk, marked first."""
    mark_disk(target, folder, name)
    point("l2.disk.marked")
    if not folder.disk(name).exists():
        images.make_blank(folder.disk(name), target.spec.machine.disks[name].size, folder.host)


def mark_disk(target: Machine, folder: Folder, name: str) -> None:
    """Write whose disk it is, and whether it outlives its machine."""
    folder.write_mark(name, durable=target.spec.machine.disks[name].durable)


def remove_disk(folder: Folder, name: str) -> None:
    """The disk, then its mark."""
    folder.disk(name).unlink(missing_ok=True)
    folder.disk_mark(name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.disks.rmdir()


def blank_disposable(target: Machine, folder: Folder) -> None:
    """Disks that are not durable start anew with their machine."""
    for name, disk in target.spec.machine.disks.items():
        mark = folder.read_mark(name)
        if name != ROOT and not disk.durable and mark is not None and not mark.durable:
            images.make_blank(folder.disk(name), disk.size, folder.host)


def _claim(target: Machine, folder: Folder) -> Record:
    """The record of a machine that is made (again); on disk before anything else."""
    record = folder.read()
    if record is None:
        if is_foreign(folder):
            if not target.adopt:
                raise NotOwned(f"Unable to make {folder.host}: {folder.home} is not this lab's.")
            shutil.rmtree(folder.home)
        record = Record(
            lab=folder.workspace.lab,
            host=folder.host,
            uuid=str(uuid.uuid4()),
            port=network.pick_port(),
            settings=Settings.of(target.spec),
        )
        folder.write(record)
    return record


def is_foreign(folder: Folder) -> bool:
    """Whether there are files of which no record tells; half-written ones of ours are not."""
    try:
        return any(not entry.name.startswith(".") for entry in folder.home.iterdir())
    except FileNotFoundError:
        return False


def _use(template: Path, host: str) -> None:
    """Say beside the template that this host lies on it, so that it is not pruned."""
    users = template.parent / "users"
    users.mkdir(mode=0o700, exist_ok=True)
    (users / host).touch()


def _leave(template: Path, host: str) -> None:
    (template.parent / "users" / host).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (template.parent / "users").rmdir()
