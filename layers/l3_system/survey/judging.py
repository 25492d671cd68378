"""From what is there and what is declared to what is there undeclared. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape

from lab.model.baseline import Baseline
from lab.model.undeclared import Known, Sort, Undeclared, ordered
from layers.l3_system.kinds.kind import Wanted
from layers.l3_system.spec import Spec, unit_name
from layers.l3_system.survey import ordinary
from layers.l3_system.survey.facts import Account, Facts, File
from layers.l3_system.survey.keys import key_of, title_of
from layers.l3_system.survey.packages import Package, chosen

_FIRST_USER, _NOBODY = 1000, 65534
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


@dataclass(frozen=True)
class Lab:
    """What the lab says of the machine.

    Attributes:
        spec: What is declared for the system, recipes expanded.
        wanted: The same by kind and name.
        known: What other layers account for.
        login: The user that we log in as, and the keys that let us in.
    """

    spec: Spec
    wanted: Mapping[str, Mapping[str, Wanted]]
    known: Known = frozenset()
    baseline: Baseline | None = None
    login: str = ""
    keys: frozenset[str] = frozenset()

    @property
    def image(self) -> Baseline:
        """What the image holds; an empty one where nothing is known of it."""
        whole = self.baseline is not None and self.baseline.complete
        return self.baseline if self.baseline is not None and whole else Baseline()

    @property
    def services(self) -> frozenset[str]:
        """The declared services, by the names of their units."""
        return frozenset(unit_name(name) for name in self.spec.services)

    def declares(self, kind: str, name: str, facts: Facts) -> bool:
        """Declared, or on record as ours (and then it is the plan that has to tell of it)."""
        return name in self.wanted.get(kind, ()) or f"{kind} {name}" in facts.owned

    def knows(self, sort: Sort, name: str) -> bool:
        """Whether another layer accounts for it."""
        return any(s is sort and fnmatchcase(name, pattern) for s, pattern in self.known)

    def paths(self, facts: Facts) -> tuple[str, ...]:
        """Patterns of every path that is declared or on record as ours, as itself or in a kind."""
        declared = {(kind, name) for kind, things in self.wanted.items() for name in things}
        ours = (thing.partition(" ") for thing in facts.owned)
        declared |= {(kind, name) for kind, _, name in ours}
        own = [escape(name) for _, name in declared if name.startswith("/")]
        for kind, name in declared:
            own += [pattern.format(escape(name)) for pattern in ordinary.OURS.get(kind, ())]
        return tuple(own)


def undeclared(facts: Facts, lab: Lab) -> tuple[Undeclared, ...]:
    """Everything, in order."""
    looks: tuple[Callable[[Facts, Lab], Iterable[Undeclared]], ...] = (
        _packages,
        _files,
        _units,
        _accounts,
        _ports,
        _mounts,
        _settings,
        _folders,
    )
    return ordered(thing for look in looks for thing in look(facts, lab))


def _like(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


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
    usual = package.priority in ordinary.PRIORITIES or _like(name, ordinary.PACKAGES)
    return package.essential or usual


def _files(facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    for path, how in changed(facts, lab):
        yield Undeclared(Sort.CONFFILE, path, how)
    for path, file in loose(facts, lab):
        if path not in facts.setuid:
            yield _file(path, file, facts)
    for path in facts.setuid:
        if not lab.knows(Sort.FILE, path):
            yield Undeclared(Sort.SETUID, path, "of no package")


def changed(facts: Facts, lab: Lab) -> Iterator[tuple[str, str]]:
    """Configuration files of packages that are not as they came: path, and how."""
    declared = lab.paths(facts)
    for path, how in facts.changed.items():
        same = path in lab.image.conffiles and how == "changed"
        if same or lab.knows(Sort.FILE, path) or _like(path, (*declared, *ordinary.FILES)):
            continue
        yield path, how


def loose(facts: Facts, lab: Lab) -> Iterator[tuple[str, File]]:
    """Files that no package brought and nothing makes by itself."""
    declared = lab.paths(facts)
    for path, file in facts.unowned.items():
        if _like(path, declared) or path in facts.managed or lab.knows(Sort.FILE, path):
            continue
        if _ordinary(path, file) or _masked(lab, path, file):
            continue
        if path not in facts.changed:
            yield path, file


def _ordinary(path: str, file: File) -> bool:
    if path in ordinary.MADE_FROM or _like(path, ordinary.FILES):
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
        if lab.image.units.get(unit) == state or _like(unit, ordinary.UNITS):
            continue
        yield Undeclared(Sort.UNIT, unit, _state(unit, facts))


def _declared_unit(unit: str, facts: Facts, lab: Lab) -> bool:
    return any(lab.declares(kind, unit, facts) for kind in ("service", "unit", "timer"))


def _accounts(facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    for name, user in facts.users.items():
        mine = name in {lab.login, "root"} or lab.declares("user", name, facts)
        mine = mine or name in lab.image.users or lab.knows(Sort.USER, name)
        person = _FIRST_USER <= user.uid < _NOBODY or (user.uid == 0 and name != "root")
        person = person or (user.uid < _FIRST_USER and name not in facts.brought)
        if person and not mine:
            powers = sorted(set(user.groups) & ordinary.GROUPS_OF_POWER)
            detail = f"uid {user.uid}" + (f", in {', '.join(powers)}" if powers else "")
            yield Undeclared(Sort.USER, name, detail)
        if mine:
            yield from _powers(name, user, facts, lab)
        yield from _keys(name, user, facts, lab)
    for name, gid in facts.groups.items():
        by_hand = _FIRST_USER <= gid < _NOBODY or name not in facts.brought
        if not by_hand or gid == _NOBODY or name in facts.users:
            continue
        if not lab.declares("group", name, facts) and name not in lab.image.groups:
            yield Undeclared(Sort.GROUP, name, f"gid {gid}")


def _powers(name: str, user: Account, facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    """A user that we know, in a group that nobody declared it to be in."""
    said = lab.spec.users.get(name)
    given = {*(said.groups if said else ()), *lab.image.users.get(name, user).groups}
    if name not in lab.image.users:
        given = set(said.groups) if said else set(user.groups) if name == "root" else set()
    for group in user.groups:
        declared = group in given or f"member {name} {group}" in facts.owned
        if group in ordinary.GROUPS_OF_POWER and not declared:
            yield Undeclared(Sort.MEMBER, f"{name} in {group}")


def _keys(name: str, user: Account, facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    said = lab.wanted.get("user", {}).get(name)
    declared = {key_of(line) for line in (said.fields.get("authorized_keys", ()) if said else ())}
    for line in user.keys:
        key = key_of(line)
        ours = name == lab.login and key in lab.keys
        if key in declared or ours or (Sort.KEY, key) in lab.known:
            continue
        if f"key {name} {key}" not in facts.owned:
            yield Undeclared(Sort.KEY, f"{name}: {title_of(line)}")


def _ports(facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    """Open to others, and of a program that no declared service started."""
    declared = lab.services
    for listener in facts.ports:
        unit = listener.unit
        if listener.address.startswith(_LOOPBACK) or _like(listener.program, ordinary.LISTENERS):
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
        return mine or lab.knows(Sort.MOUNT, path) or _like(path, ordinary.MOUNTED)

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
    for module in facts.modules:
        if not lab.declares("kernel_module", module.split()[0], facts):
            yield Undeclared(Sort.MODULE, module, "in /etc/modules")
    declared = _like("/etc/apt/sources.list", lab.paths(facts))
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
        least = ordinary.LITTLE if _like(path, ordinary.MEANT_FOR_DATA) else ordinary.MUCH
        if size >= least:
            yield Undeclared(Sort.DIRECTORY, path, "in no capture", size)
