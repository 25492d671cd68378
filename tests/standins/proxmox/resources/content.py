"""What storages hold: lists, uploads, downloads, deletions."""

from __future__ import annotations

import hashlib
import mimetypes
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.standins.proxmox import drives, formats, images, property_strings, qemu_img, sizes
from tests.standins.proxmox.calls import ApiError, Call, answers, refused
from tests.standins.proxmox.storages import FOLDERS, Storage, Volume
from tests.standins.proxmox.tasks import Task, TaskError

_PATH = "/nodes/{node}/storage/{storage}/"
_ENDINGS = {
    "iso": r"\.(?:iso|img)",
    "vztmpl": r"\.tar(?:\.gz|\.xz|\.zst|\.bz2)?",
    "import": r"\.(?:ova|ovf|qcow2|raw|vmdk)",
}
_TIMEOUT = 10


@answers("GET", _PATH + "content")
def content(call: Call) -> Any:
    storage = call.world.storage(call["storage"], call["node"])
    wanted, owner = call.get("content"), call.number("vmid")
    return [
        call.world.volumes.listed(one)
        for one in call.world.volumes.on(storage.name, call["node"])
        if wanted in {None, one.content} and owner in {None, one.owner} and _readable(call, one)
    ]


@answers("POST", _PATH + "content")
def allocate(call: Call) -> Any:
    storage = call.world.storage(call["storage"], call["node"])
    size, name = call["size"], call["filename"]
    vmid = call.vmid
    ending = Path(name).suffix.lstrip(".")
    fmt = call.get("format") or ending or "raw"
    if not re.match(rf"vm-{vmid}-", name):
        raise ApiError(f"illegal name '{name}' - should be 'vm-{vmid}-*'")
    if not storage.has_files:
        fmt = "raw"
    elif not ending:
        raise ApiError(f"unable to parse volume filename '{name}'")
    elif ending != fmt:
        raise ApiError(f"illegal name '{name}' - wrong extension for format ('{ending} != '{fmt}')")
    named = f"{vmid}/{name}" if storage.has_files else name
    if call.world.volumes.find(f"{storage.name}:{named}", call["node"]):
        raise ApiError(f"disk image '{storage.file_path('images', named)}' already exists")
    size_in_bytes = sizes.parse(size) if size[-1] in "MG" else int(size) << 10
    place = call.world.volumes.place(storage, call["node"])
    volume = Volume(storage.name, named, "images", size_in_bytes, fmt, place, vmid)
    return images.create(call.world, storage, volume).volid


@answers("GET", _PATH + "content/{volume}")
def attributes(call: Call) -> Any:
    storage, volume = _find(call)
    drives.may_read(call, volume)
    return {
        "format": volume.format,
        "path": storage.file_path(volume.content, volume.name),
        "size": volume.size,
        "used": volume.used or images.NOMINAL,
    }


@answers("PUT", _PATH + "content/{volume}")
def annotate(call: Call) -> Any:
    _, volume = _find(call)
    if call.get("notes") is not None:
        volume.notes = call["notes"]
    volume.protected = call.flag("protected", default=volume.protected)


@answers("DELETE", _PATH + "content/{volume}")
def delete(call: Call) -> Any:
    storage = call.world.storage(call["storage"], call["node"])
    volid = _volid(call)
    found = call.world.volumes.find(volid, call["node"])
    backup = found is not None and found.content == "backup" and found.owner
    if backup and call.may(f"/vms/{backup}", "VM.Backup"):
        call.need_any(f"/storage/{storage.name}", "Datastore.AllocateSpace", "Datastore.Allocate")
    else:
        call.need(f"/storage/{storage.name}", "Datastore.Allocate")

    def work(task: Task) -> None:
        volume = call.world.volumes.find(volid, call["node"])
        if volume is None:
            name = volid.partition(":")[2]
            kind = name.partition("/")[0]
            if kind not in FOLDERS or kind in {"images", "rootdir"}:
                kind = "images"
            path = storage.file_path(kind, name)
            task.say(f"unlink of '{path}' failed: No such file or directory")
        elif volume.protected:
            raise TaskError(f"cannot remove volume '{volid}' - volume is protected")
        elif call.world.volumes.children(volume):
            raise TaskError(f"base volume '{volume.name}' is still in use by linked clones")
        else:
            call.world.volumes.drop(volume)
        task.say(f"Removed volume '{volid}'")

    return call.world.tasks.start(call["node"], "imgdel", storage.name, call.who, work)


@answers("POST", _PATH + "upload")
def upload(call: Call) -> Any:
    storage = call.world.storage(call["storage"], call["node"])
    if call.upload is None:
        raise refused(filename="property is missing and it is not optional")
    kind, name = call["content"], Path(call.upload.filename).name
    _check_upload(storage, kind, name)
    volume = _volume(call, storage, kind, name)
    if digest := call.get("checksum"):
        found = _digest(Path(call.upload.path), call.get("checksum-algorithm") or "sha256")
        if found != digest.lower():
            raise ApiError(f"checksum mismatch: got '{found}' != expect '{digest}'")
    waiting = volume.bytes_at.with_name(volume.bytes_at.name + ".upload")
    images.keep_file(_at(volume, waiting), Path(call.upload.path))

    def work(task: Task) -> None:
        path = storage.file_path(kind, volume.name)
        task.say(
            "starting file import from: /var/tmp/pveupload",
            f"target node: {call['node']}",
            f"target file: {path}",
            f"file size is: {waiting.stat().st_size}",
        )
        _finish(call, volume, waiting)
        task.say("finished file import successfully")

    return call.world.tasks.start(call["node"], "imgcopy", "", call.who, work)


@answers("GET", "/nodes/{node}/query-url-metadata")
def url_metadata(call: Call) -> Any:
    request = urllib.request.Request(_loopback(call["url"]), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            length = answer.headers.get("Content-Length")
            kind = answer.headers.get_content_type()
    except (urllib.error.URLError, OSError) as fault:
        code = getattr(fault, "code", None)
        reason = getattr(fault, "reason", fault)
        text = f"{code} {reason}" if code else f"500 {reason}"
        raise ApiError(f"invalid server response: '{text}'") from None
    found: dict[str, Any] = {"filename": call["url"].rpartition("/")[2].partition("?")[0]}
    if length:
        found["size"] = int(length)
    found["mimetype"] = kind or mimetypes.guess_type(call["url"])[0]
    return found


@answers("POST", _PATH + "download-url")
def download(call: Call) -> Any:
    storage = call.world.storage(call["storage"], call["node"])
    kind, name, url = call["content"], call["filename"], call["url"]
    _check_upload(storage, kind, name)
    volume = _volume(call, storage, kind, name)
    path = storage.file_path(kind, volume.name)

    def work(task: Task) -> None:
        task.say(f"downloading {url} to {path}")
        with call.world.lock:
            if call.world.volumes.find(volume.volid, call["node"]):
                raise TaskError(f"refusing to override existing file '{path}'")
        waiting = volume.bytes_at.with_name(f"{volume.bytes_at.name}.tmp_dwnl.{task.pid}")
        try:
            _fetch(task, url, waiting, f"{path}.tmp_dwnl.{task.pid}")
            _check_sum(call, task, waiting)
            with call.world.lock:
                _finish(call, volume, waiting)
        finally:
            waiting.unlink(missing_ok=True)
        task.say(f"download of '{url}' to '{path}' finished")

    return call.world.tasks.start(call["node"], "download", name, call.who, work, slow=True)


def _readable(call: Call, volume: Volume) -> bool:
    """What the caller may not read is left out, and nothing says so."""
    try:
        drives.may_read(call, volume)
    except ApiError:
        return False
    return True


def _check_upload(storage: Storage, kind: str, name: str) -> None:
    if kind not in storage.content:
        raise refused(
            storage=f"storage '{storage.name}' is not configured for content-type '{kind}'"
        )
    if not storage.has_files:
        raise ApiError(f"can't upload to storage type '{storage.kind}'")
    if not re.search(rf"{_ENDINGS[kind]}$", name):
        words = {"iso": "wrong file extension", "vztmpl": "wrong file extension"}
        raise refused(filename=words.get(kind, "invalid filename or wrong extension"))


def _volume(call: Call, storage: Storage, kind: str, name: str) -> Volume:
    fmt = {"iso": "iso", "vztmpl": name.rpartition(".tar")[2].lstrip(".") or "tar"}.get(kind)
    fmt = f"t{fmt}" if kind == "vztmpl" and fmt in {"gz", "xz"} else fmt
    fmt = fmt or name.rpartition(".")[2]
    place = call.world.volumes.place(storage, call["node"])
    volume = Volume(storage.name, f"{kind}/{name}", kind, 0, fmt, place)
    volume.file = call.world.volumes.file_for(storage, call["node"], kind, name)
    return volume


def _at(volume: Volume, file: Path) -> Volume:
    return Volume(
        volume.storage, volume.name, volume.content, 0, volume.format, volume.node, file=file
    )


def _finish(call: Call, volume: Volume, waiting: Path) -> None:
    waiting.replace(volume.bytes_at)
    keep(volume)
    call.world.volumes.put(volume)


def keep(volume: Volume) -> None:
    """Take a volume's sizes from the file that it is."""
    volume.file_size = volume.bytes_at.stat().st_size
    volume.used = volume.bytes_at.stat().st_blocks * 512
    volume.size = volume.file_size
    if volume.content == "import":
        volume.size, _ = sizes.virtual_size(volume.bytes_at)


def _find(call: Call) -> tuple[Storage, Volume]:
    storage = call.world.storage(call["storage"], call["node"])
    volid = _volid(call)
    volume = call.world.volumes.find(volid, call["node"])
    if volume is None:
        raise ApiError(f"volume_size_info on '{volid}' failed")
    return storage, volume


def _volid(call: Call) -> str:
    volid = call["volume"]
    if ":" not in volid:
        volid = f"{call['storage']}:{volid}"
    try:
        formats.volume_id(volid)
    except property_strings.FormatError as fault:
        raise ApiError(str(fault)) from None
    if volid.partition(":")[0] != call["storage"]:
        raise refused(storage=f"storage ID does not match volume: {volid}")
    return volid


def _loopback(url: str) -> str:
    """Only this machine is asked: the stand-in opens no way out."""
    host = re.match(r"https?://(\[[^\]]*\]|[^/:]+)", url)
    if not host or host[1] not in {"127.0.0.1", "localhost", "[::1]"}:
        raise ApiError(f"the stand-in fetches from loopback only, not from {url}")
    return url


def _fetch(task: Task, url: str, target: Path, shown: str) -> None:
    task.say(*qemu_img.asking(url))
    try:
        with urllib.request.urlopen(_loopback(url), timeout=_TIMEOUT) as answer:
            task.say("HTTP request sent, awaiting response... 200 OK")
            with target.open("wb") as file:
                while piece := answer.read(1 << 20):
                    file.write(piece)
            kind = answer.headers.get_content_type()
            task.say(*qemu_img.saving(target.stat().st_size, kind, shown))
    except urllib.error.HTTPError as fault:
        task.say(*qemu_img.failing(fault.code, fault.reason))
        raise TaskError("download failed: exit code 8") from None
    except OSError:
        raise TaskError("download failed: exit code 4") from None


def _check_sum(call: Call, task: Task, file: Path) -> None:
    expected, algorithm = call.get("checksum"), call.get("checksum-algorithm")
    if not (expected and algorithm):
        return
    task.say("calculating checksum...")
    found = _digest(file, algorithm)
    if found != expected.lower():
        raise TaskError(f"checksum mismatch: got '{found}' != expect '{expected}'")
    task.say(f"OK, got correct file integrity checksum '{found}'")


def _digest(file: Path, algorithm: str) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, algorithm).hexdigest()
