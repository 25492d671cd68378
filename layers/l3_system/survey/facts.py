"""Reading what the script found: one value that holds a whole machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from layers.l3_system.kinds.kind import Section
from layers.l3_system.kinds.script import ledger, sections
from layers.l3_system.survey.keys import key_of
from layers.l3_system.survey.packages import Package, dependencies, names

_PROCESS = re.compile(r'\("([^"]+)",pid=(\d+)')
_UNIT = re.compile(r"/([^/]+\.(?:service|socket|scope))(?:/|$)")
_TIMED_OUT = 124


@dataclass(frozen=True, slots=True)
class File:
    """A file or link that no package brought."""

    kind: str
    size: int
    mode: str
    owner: str
    group: str
    leads_to: str


@dataclass(frozen=True, slots=True)
class Account:
    """A user, with every group it is a member of and every key that lets somebody in."""

    uid: int
    gid: int
    comment: str
    home: str
    shell: str
    groups: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listener:
    """A port that something listens on; ``unit`` is what systemd started it as."""

    protocol: str
    address: str
    port: int
    program: str
    unit: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that was looked at.

    Attributes:
        hostname: What it will be called at the next boot.
        zone, locale: ``"Europe/Berlin"``, ``"de_DE.UTF-8"``; ``""`` where nothing says so. They
            are plain where all files that hold them are as declaring them would make them.
        container: It runs inside one: its mounts are the engine's.
        packages: Empty where there is no dpkg.
        automatic: Packages that only came because others need them.
        changed: Configuration file to ``"changed"`` or ``"removed"``.
        managed: Configuration files that ucf keeps an eye on, beside dpkg.
        unowned: Below /etc and /usr/local, by path.
        unit_files: Unit to what ``is-enabled`` says and to what its vendor wants.
        units: Unit to ``"active"``, ``"inactive"``, ``"failed"`` ….
        brought: Users and groups that some package's scripts speak of.
        table, mounted: Mount point to source, type and options: fstab, and now.
        sizes: Folder to bytes; ``measured`` is False where time ran out.
        owned: Strata's own record on the host.
    """

    hostname: str = ""
    zone: str = ""
    zone_is_plain: bool = False
    locale: str = ""
    locale_is_plain: bool = False
    container: bool = False
    packages: Mapping[str, Package] = field(default_factory=dict)
    automatic: frozenset[str] = frozenset()
    changed: Mapping[str, str] = field(default_factory=dict)
    managed: frozenset[str] = frozenset()
    unowned: Mapping[str, File] = field(default_factory=dict)
    setuid: tuple[str, ...] = ()
    unit_files: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, Account] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    brought: frozenset[str] = frozenset()
    ports: tuple[Listener, ...] = ()
    table: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    mounted: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    measured: bool = True
    owned: Mapping[str, str] = field(default_factory=dict)


class _Answer:
    """The sections of the script's answer by name."""

    def __init__(self, nonce: str, answer: bytes) -> None:
        self._found: dict[str, list[Section]] = {}
        for name, section in sections(nonce, answer):
            self._found.setdefault(name, []).append(section)

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def of(self, name: str) -> list[Section]:
        return self._found.get(name, [])

    def lines(self, name: str) -> list[str]:
        return [line for section in self.of(name) for line in section.lines if line.strip()]

    def rows(self, name: str, cut: str | None, least: int) -> list[list[str]]:
        rows = (line.split(cut) for line in self.lines(name))
        return [row for row in rows if len(row) >= least]


def read(nonce: str, answer: bytes) -> Facts | None:
    """The facts; ``None`` where the answer is cut short."""
    found = _Answer(nonce, answer)
    if "end" not in found:
        return None
    zone, plain_zone = _zone(found.lines("zone"))
    locale, plain_locale = _locale(found)
    setuid, own = found.lines("setuid"), set(found.lines("setuid-owned"))
    ended = [s.words[0] for s in found.of("sizes-end") if s.words]
    return Facts(
        hostname=next(iter(found.lines("hostname")), ""),
        zone=zone,
        zone_is_plain=plain_zone,
        locale=locale,
        locale_is_plain=plain_locale,
        container="container" in found,
        packages={
            row[0]: Package(
                row[2],
                row[3] == "yes",
                row[4],
                dependencies(f"{row[5]}, {row[6]}"),
                names(row[7]),
            )
            for row in found.rows("packages", "\t", 8)
            if row[1][1:2] == "i"
        },
        automatic=frozenset(found.lines("automatic")),
        changed=_changed(found),
        managed=frozenset(line.partition("  ")[2] for line in found.lines("ucf")),
        unowned={
            path: File(kind, int(size), mode.rjust(4, "0"), owner, group, link)
            for kind, size, mode, owner, group, link, path in found.rows("unowned", "\t", 7)
        },
        setuid=tuple(p for p in setuid if p not in own and p.removeprefix("/usr") not in own),
        unit_files={
            row[0]: (row[1], row[2] if len(row) > 2 else "")  # noqa: PLR2004 (the preset)
            for row in found.rows("unit-files", None, 2)
        },
        units={row[0]: row[2] for row in found.rows("units", None, 3)},
        users=_users(found),
        groups={row[0]: int(row[2]) for row in found.rows("group", ":", 4)},
        brought=frozenset(found.lines("brought")),
        ports=tuple(_ports(found)),
        table=_mounts(found.lines("fstab")),
        mounted=_mounts(found.lines("mounts")),
        modules=tuple(line for line in found.lines("modules") if not line.startswith("#")),
        sources=tuple(line for line in found.lines("sources") if line.startswith("deb")),
        hosts=tuple(line for line in found.lines("hosts") if not line.startswith("#")),
        sizes={path: int(size) * 1024 for size, path in found.rows("sizes", "\t", 2)},
        measured=str(_TIMED_OUT) not in ended,
        owned=ledger(found.lines("ledger")),
    )


def _zone(lines: Sequence[str]) -> tuple[str, bool]:
    """Of the link's target, and of what /etc/timezone says."""
    link, *rest = (*lines, "")
    zone = link.partition("/zoneinfo/")[2]
    return zone, link == f"/usr/share/zoneinfo/{zone}" and rest[:1] == [zone]


def _locale(found: _Answer) -> tuple[str, bool]:
    lines = found.lines("locale")
    named = [line.partition("=")[2].strip("\"'") for line in lines if line.startswith("LANG=")]
    locale = named[0] if named else ""
    linked = found.lines("locale-link") == ["../locale.conf"]
    generated = f"{locale} UTF-8" in found.lines("locale-gen")
    return locale, linked and generated and lines == [f"LANG={locale}"]


def _changed(found: _Answer) -> dict[str, str]:
    """Of md5sum: ``/etc/x: FAILED``, or ``/etc/x: FAILED open or read`` where it is gone."""
    changed = dict.fromkeys(found.lines("made-from"), "changed")
    for line in found.lines("changed"):
        path, _, verdict = line.rpartition(": FAILED")
        if path:
            changed[path] = "removed" if verdict.strip() else "changed"
    return changed


def _users(found: _Answer) -> dict[str, Account]:
    groups: dict[str, list[str]] = {}
    for name, _, _, members in found.rows("group", ":", 4):
        for member in members.split(","):
            groups.setdefault(member, []).append(name)
    keys: dict[str, list[str]] = {}
    for section in found.of("keys"):
        keys.setdefault(section.words[0], []).extend(k for k in section.lines if key_of(k))
    return {
        row[0]: Account(
            uid=int(row[2]),
            gid=int(row[3]),
            comment=row[4],
            home=row[5],
            shell=row[6],
            groups=tuple(sorted(groups.get(row[0], ()))),
            keys=tuple(dict.fromkeys(" ".join(k.split()) for k in keys.get(row[0], ()))),
        )
        for row in found.rows("passwd", ":", 7)
    }


def _ports(found: _Answer) -> Iterable[Listener]:
    """Of ``ss``: ``tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=70,fd=6))``."""
    units = {s.words[0]: _unit(s.lines) for s in found.of("cgroup") if s.words}
    for row in found.rows("ports", None, 6):
        address, _, port = row[4].rpartition(":")
        process = _PROCESS.search(row[6]) if len(row) > 6 else None  # noqa: PLR2004
        program, pid = (process[1], process[2]) if process else ("", "")
        if port.isdigit():
            yield Listener(
                row[0],
                address.strip("[]").partition("%")[0],
                int(port),
                program,
                units.get(pid, ""),
            )


def _unit(lines: Sequence[str]) -> str:
    for line in lines:
        units = _UNIT.findall(line)
        if units:
            return str(units[-1])
    return ""


def _mounts(lines: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    rows = (line.split() for line in lines if not line.startswith("#"))
    return {row[1]: (row[0], row[2], row[3]) for row in rows if len(row) >= 4}  # noqa: PLR2004
