"""The bytes behind volumes: nothing at all, or real disk images made by qemu-img."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .storages import Storage, Volume
from .tasks import TaskError
from .world import World

NOMINAL = 200704  # what an empty qcow2 of preallocated metadata takes


def create(world: World, storage: Storage, volume: Volume) -> Volume:
    """An empty disk."""
    if world.real_disks:
        volume.file = _file(world, storage, volume)
        _qemu_img("create", "-q", "-f", _real(volume.format), volume.file, str(volume.size))
    return _kept(world, storage, volume)


def copy(world: World, storage: Storage, volume: Volume, source: Volume) -> Volume:
    """A whole copy of another volume's disk; never smaller than asked for."""
    if world.real_disks:
        volume.file = _file(world, storage, volume)
        if source.file is None:
            _qemu_img("create", "-q", "-f", _real(volume.format), volume.file, str(volume.size))
        else:
            formats: list[str | Path] = ["-f", _real(source.format), "-O", _real(volume.format)]
            _qemu_img("convert", "-q", *formats, source.file, volume.file)
    return _kept(world, storage, volume)


def overlay(world: World, storage: Storage, volume: Volume, base: Volume) -> Volume:
    """A linked clone: what is written stays above the base."""
    if world.real_disks and base.file:
        volume.file = _file(world, storage, volume)
        backing: list[str | Path] = ["-b", base.file, "-F", _real(base.format)]
        _qemu_img("create", "-q", "-f", "qcow2", *backing, volume.file)
    return _kept(world, storage, volume)


def resize(world: World, volume: Volume, size: int) -> None:
    """Make a disk larger."""
    if world.real_disks and volume.file:
        _qemu_img("resize", "-q", "-f", _format(volume), volume.file, str(size))
    volume.size = size


def convert(source: Volume, target: Path) -> None:
    """Another volume's disk as one qcow2 file that refers to no other."""
    formats: list[str | Path] = ["-f", _format(source), "-O", "qcow2"]
    _qemu_img("convert", "-q", *formats, source.bytes_at, target)


def keep_file(volume: Volume, source: Path) -> None:
    """Move a file that came from outside to where the volume's bytes are kept."""
    shutil.move(source, volume.bytes_at)
    volume.used = volume.bytes_at.stat().st_blocks * 512


def _kept(world: World, storage: Storage, volume: Volume) -> Volume:
    volume.used = _used(storage, volume)
    return world.volumes.put(volume)


def _used(storage: Storage, volume: Volume) -> int:
    if volume.file and volume.file.exists():
        return volume.file.stat().st_blocks * 512
    thin = volume.parent or storage.has_files or storage.kind in {"lvmthin", "rbd"}
    return NOMINAL if thin else volume.size


def _file(world: World, storage: Storage, volume: Volume) -> Path:
    return world.volumes.file_for(storage, volume.node or "", volume.content, volume.name)


def _format(volume: Volume) -> str:
    return "qcow2" if volume.parent else _real(volume.format)


def _real(fmt: str) -> str:
    return "raw" if fmt == "subvol" else fmt


def _qemu_img(*arguments: str | Path) -> None:
    command = ["qemu-img", *(str(one) for one in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TaskError(f"qemu-img: {done.stderr.strip()}")
