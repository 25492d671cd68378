"""What `qemu-img` and `wget` print into a task's log."""

from __future__ import annotations

import time

from .storages import Storage, Volume

_MIB = 1 << 20


def formatting(storage: Storage, volume: Volume, base: Volume | None = None) -> list[str]:
    """The line of a new image; block storages have none."""
    if not storage.has_files:
        return []
    path = storage.file_path("images", volume.name)
    if volume.format != "qcow2":
        return [f"Formatting '{path}', fmt={volume.format} size={volume.size} preallocation=off"]
    cluster, extended, backing = (131072, "on", "") if base else (65536, "off", "")
    if base:
        backing = f"backing_file=../{base.name} backing_fmt={base.format} "
    options = f"cluster_size={cluster} extended_l2={extended} preallocation=metadata"
    options += f" compression_type=zlib size={volume.size} {backing}lazy_refcounts=off"
    return [f"Formatting '{path}', fmt=qcow2 {options} refcount_bits=16"]


def cloning(base: Volume, volume: Volume, owner: int) -> list[str]:
    """The line of a linked clone on a storage of files."""
    leaf = volume.name.rsplit("/", 1)[-1]
    return [f"clone {base.name}: images, {leaf}, {owner} to {leaf} (base=../{base.name})"]


def transferring(size: int) -> list[str]:
    """The first and last line of a copy's progress."""
    whole = f"{size / _MIB:.1f} MiB" if size < 1 << 30 else f"{size / (1 << 30):.1f} GiB"
    return [
        f"transferred 0.0 B of {whole} (0.00%)",
        f"transferred {whole} of {whole} (100.00%)",
    ]


def asking(url: str) -> list[str]:
    """wget's first lines."""
    return [f"--{_now()}--  {url}", f"Connecting to {url.split('/')[2]}... connected."]


def saving(size: int, kind: str, target: str) -> list[str]:
    """wget's lines from the answer's head to the saved file."""
    return [
        f"Length: {size} ({_short(size)}) [{kind}]",
        f"Saving to: '{target}'",
        "     0K                                    100% 1.00G=0s",
        f"{_now()} (1.00 GB/s) - '{target}' saved [{size}/{size}]",
    ]


def failing(code: int, reason: str) -> list[str]:
    """wget's lines about an answer that is no file."""
    return [
        f"HTTP request sent, awaiting response... {code} {reason}",
        f"{_now()} ERROR {code}: {reason}.",
    ]


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())


def _short(size: int) -> str:
    for unit, bound in (("G", 1 << 30), ("M", _MIB), ("K", 1 << 10)):
        if size >= bound:
            number = size / bound
            return f"{number:.0f}{unit}" if number >= 10 else f"{number:.1f}{unit}"
    return str(size)
