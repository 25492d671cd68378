"""Declarations that contradict each other: one path twice, circles, files in a file.

Pure; what types cannot find. Every problem has the path to it in the host's document.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from lab.model.files import LabFile
from layers.l3_system.kinds import edit, template
from layers.l3_system.kinds.kind import Place
from layers.l3_system.kinds.unit import file_kinds
from layers.l3_system.spec import Spec, accounts, unit_name

Where = tuple[str | int, ...]
Problem = tuple[Where, str]

# One path has one declaration. A directory may be mounted upon; lines and blocks share a file.
_SECTIONS = ("directories", "files", "links", "absent", "lines", "blocks", "swap", "mounts")
_TOGETHER = ({"directories", "mounts"}, {"lines", "blocks"})
_NO_FOLDER = {"files": "a file", "lines": "a file", "blocks": "a file", "swap": "a file"}


def problems(spec: Spec, here: Place) -> Iterator[Problem]:
    """Everything that cannot be as it is declared."""
    yield from _twice(spec)
    yield from _inside(spec)
    yield from _links(spec.links)
    yield from _mounts(spec)
    yield from _rendered(spec, here)
    yield from _edits(spec, here)
    yield from _services(spec)
    yield from ((("system", *path), text) for path, text in accounts.contradictions(spec))


def _paths(spec: Spec, section: str) -> Mapping[str, object]:
    paths: Mapping[str, object] = spec.absences if section == "absent" else getattr(spec, section)
    return paths


def _twice(spec: Spec) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for section in _SECTIONS:
        for path in _paths(spec, section):
            other = seen.setdefault(path, section)
            if other != section and {other, section} not in _TOGETHER:
                yield _place(spec, section, path), f"{path} is declared under {other} too"


def _place(spec: Spec, section: str, path: str) -> Where:
    """A path's place: its key, or its number where ``absent`` is a list."""
    if section == "absent" and not isinstance(spec.absent, dict):
        return ("system", section, spec.absent.index(path))
    return ("system", section, path)


def _inside(spec: Spec) -> Iterator[Problem]:
    """Something in what is no folder, or is not to be there."""
    whole = {p: what for s, what in _NO_FOLDER.items() for p in _paths(spec, s)}
    gone = spec.absences
    for section in _SECTIONS:
        for path in _paths(spec, section):
            for folder in _folders(path):
                if folder in whole:
                    what = f"{folder} is declared as {whole[folder]}: nothing can lie in it"
                    yield _place(spec, section, path), what
                elif folder in gone and section != "absent":
                    what = f"{folder} is declared to be absent: nothing can lie in it"
                    yield _place(spec, section, path), what
        if section == "absent":
            for path, absent in gone.items():
                if absent.recursive and path.count("/") == 1:
                    what = f"{path} is the system's own: it is not removed with all that is in it"
                    yield _place(spec, section, path), what


def _folders(path: str) -> Iterator[str]:
    while (path := posixpath.dirname(path)) != "/":
        yield path


def _links(links: Mapping[str, object]) -> Iterator[Problem]:
    leads = {
        path: posixpath.normpath(posixpath.join(posixpath.dirname(path), link.target))
        for path, link in links.items()
        if hasattr(link, "target")
    }
    yield from _circles(leads, "links", "links lead in a circle")


def _circles(leads: Mapping[str, str], section: str, what: str) -> Iterator[Problem]:
    """Each circle of things of which every one leads to another, told at its first."""
    told: set[str] = set()
    for start in leads:
        way = [start]
        while (after := leads.get(way[-1])) is not None and after not in way:
            way.append(after)
        if after == start and start not in told:
            told.update(way)
            yield ("system", section, start), f"{what}: {' → '.join([*way, start])}"


def _mounts(spec: Spec) -> Iterator[Problem]:
    disks = {f.mount: name for name, f in spec.filesystems.items()}
    for path in spec.mounts:
        if path in disks:
            what = f"the disk {disks[path]} is mounted at {path} already"
            yield ("system", "mounts", path), what
    points = set(spec.mounts)
    leads = {
        path: next((p for p in (mount.source, *_folders(mount.source)) if p in points), "")
        for path, mount in spec.mounts.items()
        if mount.source.startswith("/")
    }
    yield from _circles({p: s for p, s in leads.items() if s}, "mounts", "mounts wait in a circle")


def _rendered(spec: Spec, here: Place) -> Iterator[Problem]:
    for path, file in spec.files.items():
        if file.template is not None:
            yield from _renders(file.template, here, ("system", "files", path))


def _renders(file: LabFile, here: Place, where: Where) -> Iterator[Problem]:
    try:
        template.render(file.text, here)
    except ValueError as error:
        yield (*where, "template"), f"{file.path}: {error}"


def _edits(spec: Spec, here: Place) -> Iterator[Problem]:
    for path, blocks in spec.blocks.items():
        for name, block in blocks.items():
            if block.template is not None:
                yield from _renders(block.template, here, ("system", "blocks", path, name))
    for path in dict.fromkeys((*spec.lines, *spec.blocks)):
        try:
            edit.edits_of(spec, path, here, reveal=False)
        except ValueError as error:
            section = "lines" if path in spec.lines else "blocks"
            if "does not render" not in str(error):  # told already
                yield ("system", section, path), str(error)


def _services(spec: Spec) -> Iterator[Problem]:
    units: dict[str, str] = {}
    files = file_kinds(spec)
    for name, service in spec.services.items():
        other = units.setdefault(unit_name(name), name)
        if other != name:
            yield ("system", "services", name), f"this is {other} once more"
        for key in ("restart_on", "reload_on"):
            for index, path in enumerate(getattr(service, key)):
                if path not in files:
                    what = f"{path} is not among the files declared here"
                    yield ("system", "services", name, key, index), what
    for name, timer in spec.timers.items():
        unit = unit_name(timer.unit) if timer.unit is not None else ""
        if unit == f"{name}.timer":
            yield ("system", "timers", name, "unit"), f"{unit} waits for itself"
        masked = unit in units and spec.services[units[unit]].masked
        if masked:
            yield ("system", "timers", name, "unit"), f"{unit} is masked: nothing can start it"
