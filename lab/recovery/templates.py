"""A template out of a captured boot disk: read whole, compared, and handed to the layer's driver.

What goes into it is said here and in the driver, which gets the disk itself or, where that stays at
its provider, is told where it lies: the driver takes out what makes any machine
itself, this module what the lab put there for one host: its marks, its data, its containers.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

from lab import events, faults
from lab.abilities import Admitting, AdmittingArchives
from lab.config.datasets import DISK
from lab.engine import Engine
from lab.errors import DriverError, LabError, PlanError
from lab.journal import Journal
from lab.layer import Target, Workspace
from lab.model import standing
from lab.model.host import Host
from lab.model.outcome import Outcome, RunReport
from lab.model.template import ArchivedCandidate, Candidate
from lab.model.units import show_size
from lab.recovery.archives import archive_of
from lab.recovery.captures import Captures
from lab.recovery.disks import UNITS
from lab.recovery.identity import IDENTITY_SET
from lab.recovery.manifest import IMAGE, Manifest
from lab.recovery.reading import checked
from lab.recovery.repository import Capture, Repository
from lab.recovery.restores import chosen
from lab.recovery.run import Part, SetRun

_OURS = ("/var/lib/strata/*", f"/{standing.FOLDER}/*")
_CONTAINERS = ("/var/lib/docker/*", "/var/lib/containerd/*", "/var/lib/rancher/*")
"""They would start by themselves on a new machine, before anybody has looked at its data."""
_SHORT = 8
_RECIPE = "2"
"""Part of a template's name: raised when what is taken out changes, here or in a driver."""


@dataclass(frozen=True, slots=True)
class Made:
    """What came of it. ``template``: its name; ``captured``: ``"web1@1a2b3c4d"``."""

    run: RunReport
    template: str = ""
    captured: str = ""

    @property
    def verb(self) -> str:
        """The run's."""
        return self.run.verb


class _About(TypedDict):
    """What is said of a template that is to be made, wherever its disk lies."""

    name: str
    captured: str
    checksum: str
    remove: tuple[str, ...]
    units: str


@dataclass(frozen=True)
class _Handed:
    """Who makes templates for a host's provider, and of which part of the host."""

    driver: Admitting | AdmittingArchives
    target: Target[Any, Any]


class Templates:
    """Makes templates of captures, for one loaded lab."""

    def __init__(
        self, captures: Captures, engine: Engine, workspace: Workspace, journal: Journal
    ) -> None:
        self._captures, self._engine = captures, engine
        self._workspace, self._journal = workspace, journal

    def make(
        self, host: Host, persona: str, at: str = "", *, listen: events.Listener = events.ignore
    ) -> Made:
        """A template for ``persona`` out of the newest good captured disk of ``host``.

        ``at`` names an older one, as for a restore. The same capture comes to the same template.
        """
        run = SetRun(self._journal, "promote", [host], listen)
        made: list[tuple[str, str]] = []
        with run.told(None):
            run.part(host.name, DISK, partial(self._make, host, persona, at, made))
        template, captured = made[0] if made else ("", "")
        return Made(run.report(), template, captured)

    def _make(
        self, host: Host, persona: str, at: str, made: list[tuple[str, str]], part: Part
    ) -> None:
        handed = self._driver(host)
        repository = self._captures.repository
        every = self._captures.listing().of(host.name, DISK, good=True)
        capture = chosen(every, at)
        if capture is None:
            old = " that is old enough, or called so" if every else ""
            raise PlanError(
                f"Unable to promote the boot disk of {host.name}: no good capture of it{old}.",
                hint=f"lab capture host={host.name} --disk",
            )
        manifest = repository.manifest(capture)
        name = f"{persona}-{_digest(_RECIPE, persona, manifest.whole)}"
        captured = f"{host.name}@{capture.snapshot[:_SHORT]}"
        about: _About = {
            "name": name,
            "captured": captured,
            "checksum": f"sha256:{manifest.whole}",
            "remove": self._remove(host),
            "units": manifest.facts.get(UNITS, ""),
        }
        if manifest.archive:
            _from_archive(handed, manifest, about, part)
        else:
            self._from_file(handed, manifest, capture, about, part)
        made.append((name, captured))
        part.applied = (f"made the template {name} of {show_size(manifest.size)}",)
        part.outcome = Outcome.CHANGED
        if not manifest.quiesced:
            part.notes = ("the disk was captured as after a power cut; its filesystem was mended",)

    def _from_file(
        self, handed: _Handed, manifest: Manifest, capture: Capture, about: _About, part: Part
    ) -> None:
        """From the image in the repository. Raises PlanError, DriverError, LabError."""
        driver, host = handed.driver, manifest.host
        if not isinstance(driver, Admitting):
            raise PlanError(
                f"Unable to promote the boot disk of {host}: the capture is of another kind of"
                " machine than it is now.",
                hint=f"lab capture host={host} --disk",
            )
        if manifest.stream(IMAGE) is None:
            raise DriverError(f"Unable to promote the boot disk of {host}: no disk is in it.")
        cache = self._workspace.cache / "images"
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".captured-", dir=cache) as folder:
                disk = Path(folder) / IMAGE
                _fetch(self._captures.repository, manifest, capture, disk, part)
                faults.point("image.captured.fetched")
                driver.admit(Candidate(disk=disk, **about), part.tell)
        except OSError as error:
            raise LabError(
                f"Unable to make a template of the boot disk of {host}: {error.strerror or error}.",
                hint=f"df -h {cache}",
            ) from error

    def _driver(self, host: Host) -> _Handed:
        for layer in self._engine.layers:
            for part in host.parts.get(layer.name, ()):
                driver: object = layer.drivers[part.driver](self._workspace)
                if isinstance(driver, Admitting | AdmittingArchives):
                    inputs = layer.inputs.model_validate({})
                    return _Handed(driver, Target(host, part.spec, inputs, part.name))
        raise PlanError(
            f"Unable to promote the boot disk of {host.name}: nobody here makes templates of disks"
            " for its provider.",
            hint="lab image list",
        )

    def _remove(self, host: Host) -> tuple[str, ...]:
        """What the lab put on that machine for it alone, and the data that it keeps."""
        sets = [one for one in self._captures.sets(host) if not one.optional]
        data = [path for one in sets for path in one.paths if path != "/"]
        return (*_OURS, *_CONTAINERS, *IDENTITY_SET.paths, *data)


def _from_archive(handed: _Handed, manifest: Manifest, about: _About, part: Part) -> None:
    """From the archive that stays at the provider. Raises PlanError, DriverError."""
    archive, driver = archive_of(manifest), handed.driver
    if archive is None or not isinstance(driver, AdmittingArchives):
        raise PlanError(
            f"Unable to promote the boot disk of {manifest.host}: its image lies at"
            f" {manifest.archive.get('place', 'another provider')}, and the machine is somewhere"
            " else now.",
            hint=f"lab capture host={manifest.host} --disk",
        )
    driver.admit_archive(handed.target, ArchivedCandidate(archive=archive, **about), part.tell)


def _fetch(
    repository: Repository, manifest: Manifest, capture: Capture, disk: Path, part: Part
) -> None:
    """The disk out of the repository, byte for byte what was captured. Raises DriverError."""
    stream = manifest.stream(IMAGE)
    assert stream is not None  # noqa: S101 (the caller looked)
    done = 0
    with disk.open("wb") as file:
        for piece in checked(repository, manifest, stream):
            file.write(piece)
            done += len(piece)
            part.tell(f"reading the capture {capture.snapshot[:_SHORT]}", done, stream.size)


def _digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]


__all__ = ["Made", "Templates"]
