"""A machine's boot disk becomes a template: identity out, records in, nothing mounted, no root.

What is removed is also gone from the blocks that nothing uses any more: only what is in use is
copied into the template.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lab.errors import DriverError
from lab.layer import Report, Workspace
from lab.model.baseline import Baseline
from lab.model.template import Candidate
from layers.l1_image import baseline as records
from layers.l1_image import diskfile
from layers.l1_image.disk import copy_into
from layers.l1_image.drivers.debian.ext4 import Ext4, root_of
from layers.l1_image.identity import IDENTITY, LOGS, MACHINE_ID
from layers.l1_image.spec import RECIPE, Definition


@dataclass(frozen=True, slots=True)
class Named:
    """What such a template is called, and was made from."""

    name: str
    definition: Definition


def named(candidate: Candidate) -> Named:
    """Its record: the capture is its base."""
    return Named(
        name=candidate.name,
        definition=Definition(
            recipe=RECIPE,
            architecture=os.uname().machine,
            base=f"the boot disk of {candidate.captured}",
            checksum=candidate.checksum,
        ),
    )


def make(candidate: Candidate, folder: Path, workspace: Workspace, report: Report) -> Baseline:
    """Write ``folder/disk.qcow2``, and tell what it holds. Raises DriverError."""
    shown, raw = f"the boot disk of {candidate.captured}", folder / "disk.raw"
    report("unpack the boot disk")
    diskfile.convert(
        candidate.disk, diskfile.examined(candidate.disk, shown), raw, "raw", workspace
    )
    report("look at its filesystem")
    root = root_of(raw, shown, workspace)
    report("take out what makes it itself")
    files, table = _swap(root, folder)
    root.remove([*IDENTITY, *candidate.remove, *files])
    if files:  # or the new machine would start with a failed unit
        root.put("/etc/fstab", table, 0o644, folder)
    root.empty(LOGS)
    root.blank(MACHINE_ID, folder)
    root.mend()
    report("record what it holds")
    found = _baseline(root, folder, candidate.units)
    report("copy what is in use")
    _compact(root, folder, workspace)
    return found


def _swap(root: Ext4, folder: Path) -> tuple[list[str], bytes]:
    """Files that memory was written out to, by its fstab; and the fstab without them."""
    table, files, left = folder / "fstab", [], b""
    root.dump({"/etc/fstab": table})
    for raw in table.read_bytes().splitlines(keepends=True) if table.exists() else ():
        source, _, kind, *_ = (*raw.decode(errors="replace").split(), "", "", "")
        if kind == "swap" and source.startswith("/") and not source.startswith("/dev/"):
            files.append(source)
        else:
            left += raw
    return files, left


def _baseline(root: Ext4, folder: Path, units: str) -> Baseline:
    """From its own records. Without ``units`` it is not complete."""
    tree = folder / "records"
    root.dump({f"/{path}": tree / path for path in records.RECORDS})
    lacking = [path for path in records.RECORDS if not (tree / path).is_file()]
    if lacking:
        raise DriverError(
            f"Unable to make a template of {root.shown}: it has no /{lacking[0]}.",
            hint="only Debian and its kin can be made templates of",
        )
    paths = {p for p in records.conffiles(tree) if _is_plain(p)}
    there = root.listings({p.rpartition("/")[0] or "/" for p in paths})
    files = {e.path for entries in there.values() for e in entries if e.is_file}
    root.dump({path: tree / path.lstrip("/") for path in sorted(paths & files)})
    found = records.read(tree, units)
    return found.model_copy(update={"complete": bool(units)})


def _is_plain(path: str) -> bool:
    steps = path.split("/")
    return path.startswith("/") and path.isprintable() and '"' not in path and ".." not in steps


def _compact(root: Ext4, folder: Path, workspace: Workspace) -> None:
    """The disk again, its root without what is no longer in use."""
    used, whole = folder / "root.img", folder / "whole.raw"
    root.copy_used(used)
    with whole.open("wb") as file:
        file.truncate(root.disk.stat().st_size)
    copy_into(root.disk, whole, 0, end=root.offset)
    copy_into(used, whole, root.offset)
    tail = root.offset + root.size
    copy_into(root.disk, whole, tail, begin=tail)
    diskfile.convert(whole, "raw", folder / "disk.qcow2", "qcow2", workspace)
