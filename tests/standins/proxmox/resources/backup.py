"""vzdump: a task that leaves a backup's volume."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.standins.proxmox.calls import ApiError, Call, answers, refused
from tests.standins.proxmox.storages import Storage, Volume
from tests.standins.proxmox.tasks import Task, TaskError
from tests.standins.proxmox.world import Guest

from .guest_config import split

_ENDINGS = {"zstd": ".zst", "gzip": ".gz", "lzo": ".lzo", "1": ".lzo", "0": ""}


@answers("POST", "/nodes/{node}/vzdump")
def dump(call: Call) -> Any:
    node = call["node"]
    wanted = [int(one) for one in split(call.get("vmid") or "")]
    if call.flag("all"):
        wanted = [one.vmid for one in call.world.guests.values() if one.node == node]
    if not wanted:
        raise refused(vmid="property is missing and it is not optional")
    for vmid in wanted:
        call.need(f"/vms/{vmid}", "VM.Backup")
    name = call.get("storage") or "local"
    call.need(f"/storage/{name}", "Datastore.AllocateSpace")
    storage = call.world.storage(name, node)
    if "backup" not in storage.content:
        raise ApiError(
            f"could not get storage information for '{name}': can't use storage"
            f" '{name}' for backups - wrong content type"
        )

    def work(task: Task) -> str | None:
        failed = []
        for vmid in wanted:
            guest = call.world.guests.get(vmid)
            if guest is None or guest.node != node:
                failed.append(vmid)
                task.say(f"ERROR: Backup of VM {vmid} failed - unable to find VM '{vmid}'")
                continue
            guest.check_lock()
            _dump(call, task, storage, guest)
        if failed:
            raise TaskError("job errors")
        return None

    about = str(wanted[0]) if len(wanted) == 1 else ""
    return call.world.tasks.start(node, "vzdump", about, call.who, work)


def _dump(call: Call, task: Task, storage: Storage, guest: Guest) -> None:
    world = call.world
    stamp = time.strftime("%Y_%m_%d-%H_%M_%S", time.gmtime())
    kind, ending = ("lxc", "tar") if guest.kind == "lxc" else ("qemu", "vma")
    packed = _ENDINGS[call.get("compress") or "0"]
    leaf = f"vzdump-{kind}-{guest.vmid}-{stamp}.{ending}{packed}"
    place = world.volumes.place(storage, guest.node)
    fmt = f"{ending}{packed}"
    volume = Volume(storage.name, f"backup/{leaf}", "backup", 0, fmt, place, guest.vmid)
    volume.file = world.volumes.file_for(storage, guest.node, "backup", leaf)
    volume.file.write_text(json.dumps(guest.config), encoding="utf-8")
    volume.size = volume.file_size = volume.file.stat().st_size
    volume.notes = (call.get("notes-template") or "").replace("{{guestname}}", guest.name) or None
    volume.protected = call.flag("protected")
    world.volumes.put(volume)
    task.say(
        f"INFO: Starting Backup of VM {guest.vmid} ({guest.kind})",
        f"INFO: creating vzdump archive '{storage.file_path('backup', volume.name)}'",
        f"INFO: Finished Backup of VM {guest.vmid} (00:00:01)",
    )
