"""From what is there and what is declared to what is there undeclared. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from lab.model.undeclared import Sort, Undeclared, ordered
from layers.l3_system.survey import ordinary
from layers.l3_system.survey.crowds import parted
from layers.l3_system.survey.declared import Lab, like
from layers.l3_system.survey.facts import Facts, File
from layers.l3_system.survey.packages import Package, chosen
from layers.l3_system.survey.strangers import accounts

_UNIT_FILE = (".service", ".socket", ".timer", ".path", ".target", ".mount")
_LOOPBACK = ("127.", "::1")
_SPOOL = "/var/spool/cron/crontabs/"
_BY_FOLDER = (
    ("/etc/cron", Sort.CRON),
    (_SPOOL, Sort.CRON),
    ("/etc/sudoers.d/", Sort.SUDOERS),
    ("/etc/sysctl.d/", Sort.SYSCTL),
    ("/etc/modules-load.d/", Sort.MODULE),
    ("/etc/modprobe.d/", Sort.MODULE),
    ("/etc/apt/sources.list.d/", Sort.SOURCE),
    ("/etc/apt/trusted.gpg", Sort.SOURCE),
    ("/etc/apt/keyrings/", Sort.SOURCE),
)


def undeclared(facts: Facts, lab: Lab) -> tuple[Undeclared, ...]:
    """Everything, in order."""
    looks: tuple[Callable[[Facts, Lab], Iterable[Undeclared]], ...] = (
        _packages,
        _files,
        _units,
        accounts,
        _ports,
        _mounts,
        _settings,
        _folders,
    )
    return ordered(thing for look in looks for thing in look(facts, lab))


def _packages(facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    image = lab.image.packages
    known = {
        name
        for name, package in facts.packages.items()
        if lab.declares("package", name, facts)
        or (name in image if image else _comes_with_debian(name, package))
    }
    by_hand = set(facts.packages) - facts.automatic - known
    for name in chosen(facts.packages, known, by_hand):
        yield Undeclared(Sort.PACKAGE, name, facts.packages[name].version)
    for name in image if facts.packages else ():
        # a kernel or library of the image gives way to its successor, of another name
        replaced = name.startswith(("lib", "linux-image-"))
        if name not in facts.packages and not replaced:
            yield Undeclared(Sort.MISSING, name, "the image has it")


def _comes_with_debian(name: str, package: Package) -> bool:
    usual = package.priority in ordinary.PRIORITIES or like(name, ordinary.PACKAGES)
    return package.essential or usual


def _files(facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    for path, how in changed(facts, lab):
        yield Undeclared(Sort.CONFFILE, path, how)
    files = {path: file for path, file in loose(facts, lab) if path not in facts.setuid}
    single, crowds = parted(files)
    for path in single:
        yield _file(path, files[path], facts)
    for folder, paths in crowds.items():
        size = sum(files[path].size for path in paths)
        yield Undeclared(Sort.FILE, f"{folder}/*", f"{len(paths)} files", size)
    for path in facts.setuid:
        if not lab.knows(Sort.FILE, path):
            yield Undeclared(Sort.SETUID, path, "of no package")


def changed(facts: Facts, lab: Lab) -> Iterator[tuple[str, str]]:
    """Configuration files of packages that are not as they came: path, and how."""
    declared = lab.paths(facts)
    for path, how in facts.changed.items():
        same = path in lab.image.conffiles and how == "changed"
        if same or lab.knows(Sort.FILE, path) or like(path, (*declared, *ordinary.FILES)):
            continue
        yield path, how


def loose(facts: Facts, lab: Lab) -> Iterator[tuple[str, File]]:
    """Files that no package brought and nothing makes by itself."""
    declared = lab.paths(facts)
    for path, file in facts.unowned.items():
        if like(path, declared) or path in facts.managed or lab.knows(Sort.FILE, path):
            continue
        if _ordinary(path, file) or _masked(lab, path, file):
            continue
        if path not in facts.changed:
            yield path, file


def _ordinary(path: str, file: File) -> bool:
    if path in ordinary.MADE_FROM or like(path, ordinary.FILES):
        return True
    return file.leads_to.startswith("/etc/alternatives/")


def _masked(lab: Lab, path: str, file: File) -> bool:
    """A unit that the image masks, or that is declared (as one that does not run)."""
    unit = path.rpartition("/")[2]
    known = lab.image.units.get(unit) == "masked" or unit in lab.services
    return file.leads_to == "/dev/null" and known


def _file(path: str, file: File, facts: Facts) -> Undeclared:
    sort = next((s for folder, s in _BY_FOLDER if path.startswith(folder)), Sort.FILE)
    leads = f"link to {file.leads_to}" if file.kind == "l" else ""
    if path.startswith("/etc/systemd/system/"):
        name = path.removeprefix("/etc/systemd/system/")
        if file.leads_to == "/dev/null":
            return Undeclared(Sort.UNIT, name, "masked")
        if name.endswith(_UNIT_FILE) and "/" not in name:
            return Undeclared(Sort.UNIT, name, _state(name, facts) or leads)
        return Undeclared(Sort.UNIT, name, "part of a unit", file.size)
    if path.startswith(_SPOOL):
        return Undeclared(sort, path, f"crontab of {path.removeprefix(_SPOOL)}", file.size)
    return Undeclared(sort, path, leads, None if leads else file.size)


def _state(unit: str, facts: Facts) -> str:
    enabled = facts.unit_files.get(unit, ("", ""))[0]
    active = {"active": "running"}.get(facts.units.get(unit, ""), facts.units.get(unit, ""))
    return ", ".join(word for word in (enabled, active) if word and word != "inactive")


def _units(facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    """Units of packages that somebody switched on, against what their vendor wants."""
    declared = lab.services
    for unit, (state, vendor) in facts.unit_files.items():
        by_hand = state == "enabled" and vendor == "disabled"
        if not by_hand and state != "transient":
            continue
        if unit in declared or lab.knows(Sort.UNIT, unit) or _declared_unit(unit, facts, lab):
            continue
        if f"/etc/systemd/system/{unit}" in facts.unowned:
            continue
        if lab.image.units.get(unit) == state or like(unit, ordinary.UNITS):
            continue
        yield Undeclared(Sort.UNIT, unit, _state(unit, facts))


def _declared_unit(unit: str, facts: Facts, lab: Lab) -> bool:
    return any(lab.declares(kind, unit, facts) for kind in ("service", "unit", "timer"))


def _ports(facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    """Open to others, and of a program that no declared service started."""
    declared = lab.services
    for listener in facts.ports:
        unit = listener.unit
        if listener.address.startswith(_LOOPBACK) or like(listener.program, ordinary.LISTENERS):
            continue
        if unit in declared or unit in lab.image.units or _declared_unit(unit, facts, lab):
            continue
        if unit.startswith("docker-") and unit.endswith(".scope"):
            continue
        who = listener.program or "a process"
        if unit and unit != f"{who}.service":
            who = f"{who} ({unit})"
        yield Undeclared(Sort.PORT, f"{listener.protocol} {listener.port}", who)


def _mounts(facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    declared = {*lab.spec.mounts, *(f.mount for f in lab.spec.filesystems.values())}

    def told(path: str) -> bool:
        mine = path in declared or lab.declares("mount", path, facts)
        return mine or lab.knows(Sort.MOUNT, path) or like(path, ordinary.MOUNTED)

    for path, (source, kind, _) in facts.table.items():
        if kind != "swap" and not told(path):
            where = "" if path in facts.mounted else ", not mounted"
            yield Undeclared(Sort.MOUNT, path, f"{source} ({kind}) in fstab{where}")
    for path, (source, kind, _) in facts.mounted.items():
        if path in facts.table or told(path) or not ordinary.FILESYSTEMS.match(kind):
            continue
        if facts.container and not ordinary.NETWORK.match(kind):
            continue
        yield Undeclared(Sort.MOUNT, path, f"{source} ({kind}), not in fstab")


def _settings(facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    paths = lab.paths(facts)
    if facts.zone not in ordinary.ZONES and not like("/etc/localtime", paths):
        yield Undeclared(Sort.SETTING, "timezone", facts.zone)
    if facts.locale not in ordinary.LOCALES and not like("/etc/locale.conf", paths):
        yield Undeclared(Sort.SETTING, "locale", facts.locale)
    for module in facts.modules:
        if module.split()[0].replace("-", "_") not in lab.spec.modules:
            yield Undeclared(Sort.MODULE, module, "in /etc/modules")
    declared = like("/etc/apt/sources.list", paths)
    for line in facts.sources:
        address = next((w for w in line.split() if "://" in w), "")
        if not ordinary.OFFICIAL.search(address) and not declared:
            yield Undeclared(Sort.SOURCE, address or line, "in /etc/apt/sources.list")


def _folders(facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    """Data that no disk of its own, no mount and no workload's capture covers."""
    kept = {*lab.spec.mounts, *(f.mount for f in lab.spec.filesystems.values())}
    kept |= {pattern for sort, pattern in lab.known if sort is Sort.DIRECTORY}
    for path, size in facts.sizes.items():
        if any(path == k or path.startswith(f"{k}/") for k in kept):
            continue
        least = ordinary.LITTLE if like(path, ordinary.MEANT_FOR_DATA) else ordinary.MUCH
        if size >= least:
            yield Undeclared(Sort.DIRECTORY, path, "in no capture", size)
