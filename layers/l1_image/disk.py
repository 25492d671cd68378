"""The disk: an EFI partition with systemd-boot and the kernel, and an ext4 root behind it.

No mount, no loop device: each filesystem is written as a file, at its place.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lab.clients.process import run
from lab.errors import DriverError
from lab.layer import Report, Workspace
from lab.model.units import show_size
from layers.l1_image import debian
from layers.l1_image.spec import Spec
from layers.l1_image.tree import namespaces

_MIB = 1 << 20
_ESP = 128  # MiB: two kernels with their initrds, while one replaces the other
_START = 1 + _ESP
_ROOT_TYPE = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"  # root (x86-64), Discoverable Partitions
_LOADER = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"


def make(spec: Spec, folder: Path, workspace: Workspace, report: Report) -> Path:
    """Write ``folder/disk.qcow2`` from ``folder/tree``; the tree is gone afterwards."""
    used = int((folder / "size.txt").read_text())
    root = used * 5 // 4 // _MIB + 256
    raw, qcow2 = folder / "disk.raw", folder / "disk.qcow2"
    report("write the EFI partition")
    _esp(spec, folder, workspace)
    with raw.open("wb") as file:
        file.truncate((_START + root + 1) * _MIB)
    _run(["sfdisk", "--quiet", raw], spec, workspace, stdin=_table(spec, root).encode())
    copy_into(folder / "esp.img", raw, _MIB)
    report(f"write the root filesystem, {show_size(used)}", 0, used)
    where = f"offset={_START * _MIB},lazy_itable_init=1,root_owner=0:0"
    mke2fs = ["mke2fs", "-q", "-t", "ext4", "-L", "root", "-E", where, "-d", "tree"]
    _run([*namespaces(), *mke2fs, "disk.raw", f"{root}M"], spec, workspace, cwd=folder)
    report("write the disk image", used, used)
    _run(["qemu-img", "convert", "-O", "qcow2", raw, qcow2], spec, workspace)
    return qcow2


def _table(spec: Spec, root: int) -> str:
    esp_id, root_id = (debian.partition_uuid(spec.name, name) for name in ("esp", "root"))
    disk_id = debian.partition_uuid(spec.name, "disk")
    return (
        f"label: gpt\nlabel-id: {disk_id}\n"
        f"start=1MiB, size={_ESP}MiB, type=U, uuid={esp_id}, name=ESP\n"
        f"start={_START}MiB, size={root}MiB, type={_ROOT_TYPE}, uuid={root_id}, name=root\n"
    )


def _esp(spec: Spec, folder: Path, workspace: Workspace) -> None:
    tree, image = folder / "tree", folder / "esp.img"
    with image.open("wb") as file:
        file.truncate(_ESP * _MIB)
    (folder / "loader.conf").write_text(debian.LOADER)
    entry = debian.loader_entry(spec.name, spec.definition.kernel_parameters)
    (folder / "debian.conf").write_text(entry)
    placed = {
        "::/EFI/BOOT/BOOTX64.EFI": tree / _LOADER,
        "::/debian/vmlinuz": _linked(tree, "vmlinuz"),
        "::/debian/initrd.img": _linked(tree, "initrd.img"),
        "::/loader/loader.conf": folder / "loader.conf",
        "::/loader/entries/debian.conf": folder / "debian.conf",
    }
    folders = ["::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries", "::/debian"]
    _run(["mkfs.vfat", "-F", "32", "-n", "ESP", image], spec, workspace)
    _run(["mmd", "-i", image, *folders], spec, workspace)
    for target, source in placed.items():
        _run(["mcopy", "-i", image, source, target], spec, workspace)


def _linked(tree: Path, name: str) -> Path:
    """The kernel or initrd that the tree's own link names: relative, in its ``boot``."""
    try:
        return tree / "boot" / Path(os.readlink(tree / name)).name  # noqa: PTH115 (its text)
    except OSError as error:
        raise DriverError(
            f"Unable to build the template: the packages left no {name}.",
            hint="add a kernel to image.packages",
        ) from error


def copy_into(
    source: Path, target: Path, offset: int, *, begin: int = 0, end: int | None = None
) -> None:
    """Copy a file, or from ``begin`` to ``end`` of it, into another at ``offset``.

    Runs of zeros stay holes.
    """
    empty = bytes(_MIB)
    with source.open("rb") as reading, target.open("r+b") as writing:
        reading.seek(begin)
        writing.seek(offset)
        while piece := reading.read(min(_MIB, _MIB if end is None else end - reading.tell())):
            if piece == empty[: len(piece)]:
                writing.seek(len(piece), os.SEEK_CUR)
            else:
                writing.write(piece)


def _run(
    argv: Sequence[str | Path],
    spec: Spec,
    workspace: Workspace,
    *,
    stdin: bytes | None = None,
    cwd: Path | None = None,
) -> None:
    run(
        argv,
        doing=f"write the disk of the template {spec.name}",
        deadline=900,
        cancelled=workspace.cancelled,
        stdin=stdin,
        cwd=cwd,
        # mkfs and sfdisk live where an ordinary user's PATH does not look.
        env={"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
    )
