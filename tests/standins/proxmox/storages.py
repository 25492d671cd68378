"""Storages and the volumes in them."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .calls import ApiError

if TYPE_CHECKING:
    from .world import World

_FILES = {"dir", "nfs", "cifs", "btrfs", "cephfs"}
_SHARED = {"nfs", "cifs", "cephfs", "rbd", "iscsi", "pbs"}
FOLDERS = {
    "iso": "template/iso",
    "vztmpl": "template/cache",
    "import": "import",
    "snippets": "snippets",
    "backup": "dump",
    "images": "images",
    "rootdir": "images",
}


@dataclass
class Storage:
    """A storage's configuration, and how big it is."""

    name: str
    kind: str = "dir"
    content: set[str] = field(default_factory=lambda: {"images", "rootdir"})
    path: str = "/var/lib/vz"
    shared: bool = False
    nodes: set[str] | None = None
    disabled: bool = False
    total: int = 252 << 30
    base_used: int = 31 << 30
    options: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Network file systems are shared, whoever says nothing."""
        self.shared = self.shared or self.kind in _SHARED

    @property
    def has_files(self) -> bool:
        """Volumes are files in folders, of several formats."""
        return self.kind in _FILES

    def serves(self, node: str) -> bool:
        """Is it there on this node?"""
        return self.nodes is None or node in self.nodes

    def file_path(self, content: str, name: str) -> str:
        """Where a volume lies on the node."""
        if not self.has_files:
            device = "zvol/rpool/data" if self.kind == "zfspool" else f"pve-{self.name}"
            return f"/dev/{device}/{name.rsplit('/', 1)[-1]}"
        folder = FOLDERS[content]
        tail = name if content in {"images", "rootdir"} else name.partition("/")[2]
        parts = tail.split("/")
        if len(parts) == 4:  # a linked clone names its base before itself
            tail = "/".join(parts[2:])
        return f"{self.path}/{folder}/{tail}"


@dataclass
class Volume:
    """One volume: `size` is the disk's, `file_size` what lies on the storage."""

    storage: str
    name: str
    content: str
    size: int
    format: str
    node: str | None
    owner: int | None = None
    parent: str | None = None
    created: int = field(default_factory=lambda: int(time.time()))
    file_size: int | None = None
    used: int = 0
    file: Path | None = None
    notes: str | None = None
    protected: bool = False
    verification: dict[str, str] | None = None  # a backup server's: state and upid

    @property
    def volid(self) -> str:
        """How configurations name it."""
        return f"{self.storage}:{self.name}"

    @property
    def bytes_at(self) -> Path:
        """Its file, where it must have one."""
        if self.file is None:
            raise ValueError(f"{self.volid} has no file")
        return self.file

    @property
    def is_base(self) -> bool:
        """A template's disk, of which clones may be overlays."""
        return self.name.rsplit("/", 1)[-1].startswith("base-")


class Volumes:
    """Every volume of the cluster; a local storage's belong to one node each."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held: dict[tuple[str | None, str], Volume] = {}

    def __iter__(self) -> Iterator[Volume]:
        return iter(list(self._held.values()))

    def put(self, volume: Volume) -> Volume:
        """Keep a volume."""
        self._held[volume.node, volume.volid] = volume
        return volume

    def find(self, volid: str, node: str) -> Volume | None:
        """A volume as a node sees it."""
        return self._held.get((node, volid)) or self._held.get((None, volid))

    def need(self, volid: str, node: str) -> Volume:
        """The same, where it must be there."""
        volume = self.find(volid, node)
        if volume is None:
            raise ApiError(f"volume '{volid}' does not exist")
        return volume

    def on(self, storage: str, node: str) -> list[Volume]:
        """What a storage holds, as a node sees it."""
        return [one for one in self if one.storage == storage and one.node in {node, None}]

    def drop(self, volume: Volume) -> None:
        """Destroy a volume and its file."""
        self._held.pop((volume.node, volume.volid), None)
        if volume.file and volume.file.exists():
            from .archives import forget  # archives know volumes

            forget(volume)
            volume.file.unlink()

    def rename(self, volume: Volume, name: str, *, owner: int | None = None) -> None:
        """Give a volume another name, its file staying where it is."""
        self._held.pop((volume.node, volume.volid), None)
        volume.name = name
        volume.owner = owner or volume.owner
        self.put(volume)

    def move(self, volume: Volume, node: str) -> None:
        """Put a local volume on another node."""
        self._held.pop((volume.node, volume.volid), None)
        volume.node = node
        self.put(volume)

    def restore(self, volume: Volume, storage: Storage) -> None:
        """Put a volume on another storage, under the same name where that has names like it."""
        self._held.pop((volume.node, volume.volid), None)
        named = self.new_name(storage, volume.node or "", volume.owner or 0, volume.format)
        volume.storage, volume.name = storage.name, named
        volume.node = None if storage.shared else volume.node
        self.put(volume)

    def children(self, volume: Volume) -> list[Volume]:
        """The overlays over a base."""
        return [one for one in self if one.parent == volume.volid]

    def used(self, storage: Storage, node: str) -> int:
        """Bytes used, of the storage's total."""
        return storage.base_used + sum(one.used for one in self.on(storage.name, node))

    def place(self, storage: Storage, node: str) -> str | None:
        """Whose a new volume is: nobody's own, where the storage is shared."""
        return None if storage.shared else node

    def new_name(
        self, storage: Storage, node: str, vmid: int, fmt: str, *, base: str | None = None
    ) -> str:
        """The first free name for a guest's disk, in the storage's own way of naming."""
        taken = set()
        for one in self.on(storage.name, node):
            stem = one.name.rsplit("/", 1)[-1].partition(".")[0]
            if found := re.fullmatch(rf"(?:vm|base|subvol)-{vmid}-disk-(\d+)", stem):
                taken.add(int(found[1]))
        number = next(one for one in itertools.count() if one not in taken)
        stem = f"{'subvol' if fmt == 'subvol' else 'vm'}-{vmid}-disk-{number}"
        return self._named(storage, vmid, stem, fmt, base)

    def cloudinit_name(self, storage: Storage, vmid: int) -> str:
        """The name of a guest's cloud-init drive."""
        return self._named(storage, vmid, f"vm-{vmid}-cloudinit", "qcow2", None)

    @staticmethod
    def _named(storage: Storage, vmid: int, stem: str, fmt: str, base: str | None) -> str:
        if storage.has_files:
            own = f"{vmid}/{stem}" if fmt == "subvol" else f"{vmid}/{stem}.{fmt}"
            return f"{base}/{own}" if base else own
        return f"{base}/{stem}" if base and storage.kind == "zfspool" else stem

    def file_for(self, storage: Storage, node: str, content: str, name: str) -> Path:
        """Where the stand-in keeps a volume's bytes."""
        place = "shared" if storage.shared else node
        leaf = name.replace("/", "_")
        folder = self._world.folder / "storage" / place / storage.name / content
        folder.mkdir(parents=True, exist_ok=True)
        return folder / leaf

    def listed(self, volume: Volume) -> dict[str, Any]:
        """As a storage's content lists it."""
        found: dict[str, Any] = {
            "content": volume.content,
            "ctime": volume.created,
            "format": volume.format,
            "size": volume.size if volume.file_size is None else volume.file_size,
            "volid": volume.volid,
        }
        if volume.content in {"images", "rootdir"}:
            found |= {"parent": volume.parent, "used": volume.used}
        if volume.owner is not None:
            found["vmid"] = volume.owner
        if volume.content == "backup":
            is_container = "lxc" in volume.name or volume.name.startswith("backup/ct/")
            found["subtype"] = "lxc" if is_container else "qemu"
        if volume.notes is not None:
            found["notes"] = volume.notes.partition("\n")[0]
        if volume.verification is not None:
            found["verification"] = volume.verification
        if volume.protected:
            found["protected"] = 1
        return found
