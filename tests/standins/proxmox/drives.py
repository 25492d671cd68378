"""Drives of a VM as its configuration writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from . import property_strings, qemu_img, schema, sizes
from .calls import ApiError, Call, refused
from .images import copy, create
from .storages import Volume
from .world import GIB, Guest

KEY = re.compile(r"(?:ide|sata|scsi|virtio)\d+|efidisk0|tpmstate0")
MOUNT = re.compile(r"rootfs|mp\d+")
UNUSED = re.compile(r"unused\d+")
_NEW = re.compile(r"([^:/\s]+):(\d+(?:\.\d+)?)")


def print_nothing(*_: str) -> None:
    """Where no task's log is written."""


_EFI_SIZE = {"2m": 128 << 10, "4m": 528 << 10}


@dataclass
class Drive:
    """A drive's volume and options."""

    key: str
    file: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def is_cloudinit(self) -> bool:
        """The drive that cloud-init reads."""
        return bool(re.search(r"(?:^|[:/])(?:vm-\d+-)?cloudinit(?:\.\w+)?$", self.file))

    @property
    def is_cdrom(self) -> bool:
        """A CD-ROM, cloud-init's included."""
        return self.options.get("media") == "cdrom" or self.file in {"none", "cdrom"}

    def text(self) -> str:
        """As the configuration writes it."""
        parts = [self.file, *(f"{key}={self.options[key]}" for key in sorted(self.options))]
        return ",".join(parts)


def parse(key: str, value: str) -> Drive:
    """A drive from its text."""
    method = schema.load().methods["POST", "/nodes/{node}/qemu"]
    if MOUNT.fullmatch(key):
        method = schema.load().methods["POST", "/nodes/{node}/lxc"]
    found = property_strings.split_property_string(method.properties[key]["format"], value)
    return Drive(key, found.pop("volume" if MOUNT.fullmatch(key) else "file", "none"), found)


def drives_of(config: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Every key and volume of a configuration."""
    for key, value in config.items():
        if KEY.fullmatch(key) or MOUNT.fullmatch(key) or UNUSED.fullmatch(key):
            file = value.split(",", 1)[0].removeprefix("file=").removeprefix("volume=")
            if ":" in file:
                yield key, file


Say = Callable[..., object]


def realise(call: Call, guest: Guest, key: str, value: str, say: Say = print_nothing) -> str:
    """Make or attach what a drive's setting asks for; answers the setting as it is kept."""
    drive = parse(key, value)
    if drive.file in {"none", "cdrom"} or drive.file.startswith("/"):
        return drive.text()
    storage, _, rest = drive.file.partition(":")
    if rest == "cloudinit":
        return _cloudinit(call, guest, drive, storage, say)
    if found := _NEW.fullmatch(drive.file):
        return _new(call, guest, drive, float(found[2]), say)
    return _existing(call, guest, drive)


def check_access(call: Call, guest: Guest, key: str, value: str) -> None:
    """Refuse storages that are not there or not allowed, before anything is made."""
    drive = parse(key, value)
    storage_name, colon, rest = drive.file.partition(":")
    if drive.file in {"none", "cdrom"}:
        return
    if not colon:
        if not call.who.is_root:
            raise ApiError("Only root can pass arbitrary filesystem paths.")
        return
    storage = call.world.storage(storage_name, guest.node)
    if rest == "cloudinit" or _NEW.fullmatch(drive.file):
        call.need(f"/storage/{storage_name}", "Datastore.AllocateSpace")
        if "images" not in storage.content:
            raise refused(storage=f"storage '{storage_name}' does not support vm images")
        if source := drive.options.get("import-from"):
            check_volume(call, guest, source)
        return
    check_volume(call, guest, drive.file)


def check_volume(call: Call, guest: Guest, volid: str) -> None:
    """May the caller read this volume for this guest?"""
    if volid.startswith("/"):
        if not call.who.is_root:
            raise ApiError("Only root can pass arbitrary filesystem paths.")
        return
    name = volid.partition(":")[0]
    call.world.storage(name, guest.node)
    path = f"/storage/{name}"
    if call.may(path, "Datastore.Allocate"):
        return
    volume = call.world.volumes.find(volid, guest.node)
    if volume is not None and volume.owner != guest.vmid:
        may_read(call, volume)


def may_read(call: Call, volume: Volume) -> None:
    """Refuse a volume that the caller may not read, whoever's it is."""
    path = f"/storage/{volume.storage}"
    if call.may(path, "Datastore.Allocate"):
        return
    if volume.content in {"iso", "vztmpl", "import"}:
        call.need_any(path, "Datastore.AllocateSpace", "Datastore.Audit")
    elif volume.content == "backup" and volume.owner is not None:
        call.need(path, "Datastore.AllocateSpace")
        call.need(f"/vms/{volume.owner}", "VM.Backup")
    elif volume.owner is not None:
        call.need(path, "Datastore.Audit")
        call.need(f"/vms/{volume.owner}", "VM.Config.Disk")
    else:
        raise ApiError(f"missing privileges to access {volume.volid}")


def register_unused(call: Call, guest: Guest, drive: Drive) -> str | None:
    """A drive has left its place: its volume stays, as `unusedN`, where it is the guest's own.

    Answers that key; None where nothing is left: a CD-ROM, another's volume, cloud-init's drive,
    which is destroyed.
    """
    volume = call.world.volumes.find(drive.file, guest.node)
    if volume is None:
        return None
    if drive.is_cloudinit:
        call.world.volumes.drop(volume)
        guest.cloudinit = None
        return None
    if drive.is_cdrom or volume.owner != guest.vmid:
        return None
    return add_unused(guest.config, drive.file)


def add_unused(config: dict[str, str], volid: str) -> str | None:
    """Name a volume as unused, unless it is named already; answers its key."""
    if any(used == volid for _, used in drives_of(config)):
        return None
    key = next(f"unused{one}" for one in range(256) if f"unused{one}" not in config)
    config[key] = volid
    return key


def forget_unused(config: dict[str, str], volid: str) -> None:
    """A volume that is in a place again is unused no more."""
    for key in [one for one, used in config.items() if UNUSED.fullmatch(one) and used == volid]:
        del config[key]


def _cloudinit(call: Call, guest: Guest, drive: Drive, name: str, say: Say) -> str:
    world = call.world
    storage = world.storage(name, guest.node)
    _only_one_cloudinit(guest, drive.key)
    named = world.volumes.cloudinit_name(storage, guest.vmid)
    if world.volumes.find(f"{name}:{named}", guest.node):
        path = storage.file_path("images", named)
        raise ApiError(f"disk image '{path}' already exists")
    fmt = "qcow2" if storage.has_files else "raw"
    place = world.volumes.place(storage, guest.node)
    volume = create(world, storage, Volume(name, named, "images", 4 << 20, fmt, place, guest.vmid))
    say(*qemu_img.formatting(storage, volume))
    drive.file = volume.volid
    drive.options["media"] = "cdrom"
    drive.options.pop("format", None)
    return drive.text()


def _new(call: Call, guest: Guest, drive: Drive, gibibytes: float, say: Say) -> str:
    world = call.world
    name = drive.file.partition(":")[0]
    storage = world.storage(name, guest.node)
    source_id = drive.options.pop("import-from", None)
    source = world.volumes.need(source_id, guest.node) if source_id else None
    fmt = drive.options.pop("format", None)
    if not storage.has_files:
        fmt = "raw"
    elif fmt is None:
        fmt = source.format if source and source.format in {"raw", "qcow2", "vmdk"} else "raw"
    size = _size(drive, gibibytes, source)
    place = world.volumes.place(storage, guest.node)
    named = world.volumes.new_name(storage, guest.node, guest.vmid, fmt)
    volume = Volume(name, named, "images", size, fmt, place, guest.vmid)
    if source:
        say(f"create full clone of drive ({source.volid})")
        say(*qemu_img.formatting(storage, volume), *qemu_img.transferring(size))
        copy(world, storage, volume, source)
    else:
        say(*qemu_img.formatting(storage, volume))
        create(world, storage, volume)
    drive.file = volume.volid
    drive.options["size"] = sizes.show(size)
    return drive.text()


def _size(drive: Drive, gibibytes: float, source: Volume | None) -> int:
    if drive.key == "efidisk0":
        return _EFI_SIZE[drive.options.get("efitype", "2m")]
    if drive.key == "tpmstate0":
        return 4 << 20
    if source:
        return source.size
    return int(gibibytes * GIB)


def _existing(call: Call, guest: Guest, drive: Drive) -> str:
    volume = call.world.volumes.need(drive.file, guest.node)
    if volume.content not in {"images", "iso"}:
        text = f"cannot use volume {volume.volid} - content type needs to be 'images' or 'iso'"
        raise ApiError(text)
    if drive.is_cloudinit:
        _only_one_cloudinit(guest, drive.key)
    drive.options["size"] = sizes.show(volume.size)
    return drive.text()


def _only_one_cloudinit(guest: Guest, key: str) -> None:
    for other, value in guest.config.items():
        if other != key and KEY.fullmatch(other) and parse(other, value).is_cloudinit:
            raise ApiError(f"{key} - cloud-init drive is already attached at '{other}'")
