"""Make the images that a workload declares, once, on this machine; keep them by definition."""

from __future__ import annotations

import os
import platform
import re
import threading
from pathlib import Path

from lab.clients.process import run
from lab.errors import DriverError
from lab.layer import Report, Workspace
from layers.l4_workload import archive
from layers.l4_workload.archive import Image
from layers.l4_workload.drift import definition
from layers.l4_workload.remote.probe import IMAGE_LABEL
from layers.l4_workload.spec import ImageSource

_DEADLINE = 600.0
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64"}
_PACKAGE_SOURCES = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d"))
_MAIN_ARCHIVE = re.compile(r"(?m)^(?:URIs:|deb(?: \[[^\]]*\])?)\s+(\S+/debian)/?(?:\s|$)")


class ImageShelf:
    """Finished images under the lab's cache. One build at a time; the same one is never repeated.

    Shared by the hosts of a run: ``workspace.resource(ImageShelf)``.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._folder = workspace.cache / "workload-images"
        self._lock = threading.Lock()

    def image(self, name: str, source: ImageSource, report: Report) -> Image:
        """The image of that definition, made now if need be. Raises DriverError."""
        key = definition(source)
        machine = platform.machine()
        architecture = _ARCHITECTURES.get(machine, machine)
        tag = re.sub(r"[^\w.-]", "_", name)
        path = self._folder / f"{tag}-{key}-{architecture}.tar.gz"
        with self._lock:
            if path.exists():
                return Image(path, path.stat().st_size, "")
            self._workspace.check()
            report(f"building image {name}")
            self._folder.mkdir(parents=True, exist_ok=True)
            return self._build(name, source, key, architecture, path)

    def _build(
        self, name: str, source: ImageSource, key: str, architecture: str, path: Path
    ) -> Image:
        root = path.with_suffix(".root.tar") if source.packages else None
        new = path.with_suffix(".new")
        try:
            if root is not None:
                self._unpack_packages(name, source, root)
            labels = {IMAGE_LABEL: key, "io.strata.lab": self._workspace.lab}
            image = archive.write(name, source, labels, architecture, root, new)
            new.replace(path)
        except (OSError, ValueError) as error:
            raise DriverError(
                f"Unable to build the image {name} on this machine: {error}."
            ) from error
        finally:
            new.unlink(missing_ok=True)
            if root is not None:
                root.unlink(missing_ok=True)
        return Image(path, image.size, image.identity)

    def _unpack_packages(self, name: str, source: ImageSource, to: Path) -> None:
        mirror = _mirror()
        run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=extract",
                f"--include={','.join(source.packages)}",
                "--format=tar",
                source.suite,
                to,
                *([mirror] if mirror is not None else []),
            ],
            doing=f"build the image {name} on this machine",
            deadline=_DEADLINE,
            cancelled=self._workspace.cancelled,
            env={"LC_ALL": "C.UTF-8", "TMPDIR": os.environ.get("TMPDIR", "/tmp")},  # noqa: S108
            hint="apt-get install mmdebstrap uidmap, or see the package names in the persona",
        )


def _mirror() -> str | None:
    """The Debian archive that this machine itself uses, or ``None``: mmdebstrap knows one."""
    listed, folder = _PACKAGE_SOURCES
    try:
        files = [listed, *sorted(folder.glob("*.sources")), *sorted(folder.glob("*.list"))]
        texts = [f.read_text(errors="replace") for f in files if f.is_file()]
    except OSError:
        return None
    match = next((m for m in map(_MAIN_ARCHIVE.search, texts) if m is not None), None)
    return match[1] if match is not None else None
