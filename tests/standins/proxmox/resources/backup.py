"""vzdump: a task that leaves an archive; by the source of pve-manager and qemu-server."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from tests.standins.proxmox import archives, drives
from tests.standins.proxmox.calls import ApiError, Call, answers, refused
from tests.standins.proxmox.storages import Storage, Volume
from tests.standins.proxmox.tasks import Task, TaskError
from tests.standins.proxmox.world import Guest

from .guest_config import split

_ONLY_ROOT = ("tmpdir", "dumpdir", "script", "job-id")
_ENDINGS = {"zstd": ".zst", "gzip": ".gz", "lzo": ".lzo", "1": ".lzo", "0": ""}
_FEW = 5  # protected backups a guest, for whoever may not allocate the storage


@answers("POST", "/nodes/{node}/vzdump")
def dump(call: Call) -> Any:
    _check_rights(call)
    node = call["node"]
    wanted = [int(one) for one in split(call.get("vmid") or "")]
    if call.flag("all"):
        wanted = [one.vmid for one in call.world.guests.values() if one.node == node]
    if not wanted:
        raise refused(vmid="property is missing and it is not optional")
    guests = {vmid: call.world.guests.get(vmid) for vmid in wanted}
    here = [vmid for vmid, guest in guests.items() if guest is None or guest.node == node]
    if not here:
        return "OK"  # they run elsewhere: nobody says so
    name = call.get("storage") or "local"
    call.need(f"/storage/{name}", "Datastore.AllocateSpace")
    about = str(here[0]) if len(here) == 1 else ""

    def work(task: Task) -> str | None:
        storage = _storage(call, name, node)
        failed = [vmid for vmid in here if not _one(call, task, storage, vmid)]
        if failed:
            raise TaskError("job errors")
        task.say("INFO: Backup job finished successfully")
        return None

    return call.world.tasks.start(node, "vzdump", about, call.who, work, slow=True)


def _check_rights(call: Call) -> None:
    for key in _ONLY_ROOT:
        if call.get(key) is not None and not call.who.is_root:
            raise refused(**{key: "Only root may set this option."})
    if call.get("prune-backups") is not None:
        call.need(f"/storage/{call.get('storage') or 'local'}", "Datastore.Allocate")
    for key in ("bwlimit", "performance", "ionice"):
        if call.get(key) is not None:
            call.need("/", "Sys.Modify")
    if "\n" in (call.get("notes-template") or ""):
        raise refused(notes_template="contains a line feed")


def _storage(call: Call, name: str, node: str) -> Storage:
    says = f"could not get storage information for '{name}': "
    try:
        storage = call.world.storage(name, node)
    except ApiError as fault:
        raise TaskError(f"could not activate storage '{name}': {fault}\n{says}{fault}") from fault
    if "backup" not in storage.content:
        raise TaskError(f"{says}can't use storage '{name}' for backups - wrong content type")
    return storage


def _one(call: Call, task: Task, storage: Storage, vmid: int) -> bool:
    """One guest's; its error is a line of the log, and the job goes on with the next."""
    if not call.may(f"/vms/{vmid}", "VM.Backup"):
        raise TaskError(f"Permission check failed (/vms/{vmid}, VM.Backup)")
    began = time.time()
    try:
        _dump(call, task, storage, _found(call, vmid))
    except (TaskError, ApiError) as fault:
        task.say(f"ERROR: Backup of VM {vmid} failed - {fault}")
        if task.stop.is_set():
            raise
        return False
    seconds = time.strftime("%H:%M:%S", time.gmtime(time.time() - began))
    task.say(f"INFO: Finished Backup of VM {vmid} ({seconds})")
    return True


def _found(call: Call, vmid: int) -> Guest:
    guest = call.world.guests.get(vmid)
    if guest is None or guest.node != call["node"]:
        raise TaskError(f"unable to find VM '{vmid}'")
    return guest


def _dump(call: Call, task: Task, storage: Storage, guest: Guest) -> None:
    world, was_running = call.world, guest.running
    task.say(f"INFO: Starting Backup of VM {guest.vmid} ({guest.kind})")
    task.say(f"INFO: status = {'running' if was_running else 'stopped'}")
    with world.lock:
        guest.check_lock()
        _check_protected(call, storage, guest)
        guest.config["lock"] = "backup"
    mode = call.get("mode") or "snapshot"
    mode = mode if was_running else "stop"
    with _unlocked_again(call, task, guest, restart=was_running and mode == "stop"):
        task.say(f"INFO: backup mode: {mode}", f"INFO: VM Name: {guest.name}")
        included = list(_included(task, guest))
        if was_running and mode == "stop":
            task.say("INFO: stopping virtual guest")
            _shut_down(call, task, guest)
        name, ending = _named(call, storage, guest)
        task.say(f"INFO: creating {_kind(storage)} archive '{_shown(storage, name)}'")
        if was_running and mode == "snapshot":
            _freeze(task, guest)
        with world.lock:
            volume = _volume(call, storage, guest, name, ending)
            archives.write(world, volume, guest, included)
        if mode == "stop":
            _start_again(call, task, guest, wanted=was_running)
        _progress(call, task, guest, included)
        with world.lock:
            world.volumes.put(volume)
            task.say(f"INFO: archive file size: {volume.size}B")
            _describe(call, task, guest, volume)


@contextmanager
def _unlocked_again(call: Call, task: Task, guest: Guest, *, restart: bool) -> Iterator[None]:
    """Also where it is interrupted; a worker that is killed with its node does none of this."""
    try:
        yield
    except KilledError as fault:
        raise TaskError("unexpected status") from fault
    except BaseException:
        guest.config.pop("lock", None)
        _start_again(call, task, guest, wanted=restart)
        raise
    guest.config.pop("lock", None)


class KilledError(Exception):
    """What ``world.in_backup`` raises where the worker is to die without tidying up."""


def _start_again(call: Call, task: Task, guest: Guest, *, wanted: bool) -> None:
    from . import guest_power

    if not wanted or guest.running:
        return
    task.say("INFO: restarting vm")
    if guest.kind == "lxc":
        guest.running, guest.qmp, guest.started = True, "running", time.time()
        return
    skipping = replace(call, parameters={**call.parameters, "skiplock": "1"})
    guest_power.start(skipping, guest)(task)


def _shut_down(call: Call, task: Task, guest: Guest) -> None:
    from . import guest_power

    if not guest.listens:
        task.wait((call.number("stopwait", 10) or 0) * 60 * call.world.patience)
        raise TaskError(
            f"command 'qm shutdown {guest.vmid} --skiplock --keepActive --timeout"
            f" {(call.number('stopwait', 10) or 0) * 60}' failed: exit code 255"
        )
    if guest.kind == "lxc":
        guest.running, guest.qmp = False, "stopped"
    else:
        guest_power.halt(call, guest)


def _included(task: Task, guest: Guest) -> Iterator[str]:
    """The drives that go into it, by their keys."""
    for key, value in sorted(guest.config.items()):
        if drives.UNUSED.fullmatch(key):
            task.say(f"INFO: skip unused drive '{value}' (not included into backup)")
        if not (drives.KEY.fullmatch(key) or drives.MOUNT.fullmatch(key)):
            continue
        drive = drives.parse(key, value)
        if drive.is_cdrom:
            continue
        by_itself = "0" if key.startswith("mp") else "1"
        if drive.options.get("backup", by_itself) == "0":
            task.say(f"INFO: exclude disk '{key}' '{drive.file}' (backup=no)")
        else:
            size = drive.options.get("size", "")
            task.say(f"INFO: include disk '{key}' '{drive.file}' {size}".rstrip())
            yield key


def _freeze(task: Task, guest: Guest) -> None:
    if not guest.config.get("agent", "0").startswith(("1", "enabled=1")):
        return
    if not guest.agent:
        task.say("INFO: skipping guest-agent 'fs-freeze', agent configured but not running?")
        return
    task.say("INFO: issuing guest-agent 'fs-freeze' command")
    if guest.freezes_badly:
        task.say("ERROR: VM qmp command 'guest-fsfreeze-freeze' failed - got timeout")
    task.say("INFO: issuing guest-agent 'fs-thaw' command")


def _progress(call: Call, task: Task, guest: Guest, included: list[str]) -> None:
    total = f"{len(included)}.0 GiB"
    task.say("INFO: started backup task '00000000-0000-0000-0000-000000000000'")
    task.say(f"INFO:  40% (0.4 GiB of {total}) in 3s, read: 1.1 GiB/s, write: 350.2 MiB/s")
    task.wait(call.world.backup_seconds)
    if call.world.in_backup is not None:
        call.world.in_backup(guest)
    task.say(f"INFO: 100% ({total} of {total}) in 6s, read: 1.1 GiB/s, write: 350.2 MiB/s")


def _kind(storage: Storage) -> str:
    return "Proxmox Backup Server" if storage.kind == "pbs" else "vzdump"


def _shown(storage: Storage, name: str) -> str:
    is_server = storage.kind == "pbs"
    return name.removeprefix("backup/") if is_server else storage.file_path("backup", name)


def _named(call: Call, storage: Storage, guest: Guest) -> tuple[str, str]:
    """A name that no other has: here two may be made within one second."""
    taken = {one.name for one in call.world.volumes.on(storage.name, guest.node)}
    for later in itertools.count():
        when = time.gmtime(time.time() + later)
        name, ending = _name(storage, guest, call.get("compress") or "0", when)
        if name not in taken:
            break
    return name, ending


def _name(storage: Storage, guest: Guest, compress: str, when: time.struct_time) -> tuple[str, str]:
    if storage.kind == "pbs":
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", when)
        kind = "ct" if guest.kind == "lxc" else "vm"
        return f"backup/{kind}/{guest.vmid}/{stamp}", f"pbs-{kind}"
    stamp = time.strftime("%Y_%m_%d-%H_%M_%S", when)
    kind, ending = ("lxc", "tar") if guest.kind == "lxc" else ("qemu", "vma")
    ending = f"{ending}{_ENDINGS[compress]}"
    return f"backup/vzdump-{kind}-{guest.vmid}-{stamp}.{ending}", ending


def _volume(call: Call, storage: Storage, guest: Guest, name: str, ending: str) -> Volume:
    place = call.world.volumes.place(storage, guest.node)
    volume = Volume(storage.name, name, "backup", 0, ending, place, guest.vmid)
    volume.file = call.world.volumes.file_for(storage, guest.node, "backup", name)
    return volume


def _check_protected(call: Call, storage: Storage, guest: Guest) -> None:
    if not call.flag("protected") or call.may(f"/storage/{storage.name}", "Datastore.Allocate"):
        return
    there = [
        one
        for one in call.world.volumes.on(storage.name, guest.node)
        if one.content == "backup" and one.owner == guest.vmid and one.protected
    ]
    if len(there) >= _FEW:
        raise TaskError(
            f"The number of protected backups per guest is limited to {_FEW} on storage"
            f" '{storage.name}'"
        )


def _describe(call: Call, task: Task, guest: Guest, volume: Volume) -> None:
    template = call.get("notes-template")
    if template:
        task.say("INFO: adding notes to backup")
        with suppress(KeyError):
            volume.notes = _notes(template, guest)
        if volume.notes is None:
            task.say("WARN: unable to add notes - unexpected variable name")
    if call.flag("protected"):
        task.say("INFO: marking backup as protected")
        volume.protected = True


def _notes(template: str, guest: Guest) -> str:
    """Raises KeyError for a variable that there is not."""
    known = {"guestname": guest.name, "node": guest.node, "vmid": str(guest.vmid), "cluster": ""}
    text = re.sub(r"\\(.)", lambda one: {"n": "\n", "\\": "\\"}[one[1]], template)
    return re.sub(r"\{\{(\S+?)\}\}", lambda one: known[one[1]], text)
