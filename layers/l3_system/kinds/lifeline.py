"""What keeps us in touch with a host: which changes can cut it, and what undoing them takes.

Pure, and by names alone: a change is known by its kind, its name and the user we log in as. The
changes that are found here are tried under the dead man's timer of :mod:`.guard`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from lab.model.plan import Action, Blocker, Change
from layers.l3_system.kinds.kind import name_of


class Area(StrEnum):
    """A part of the way to a host, that is made live and put back as one."""

    LOGIN = "login"  # sshd, PAM, our account and its keys
    RIGHTS = "rights"  # becoming root
    NETWORK = "network"
    FIREWALL = "firewall"


PATHS: dict[Area, tuple[str, ...]] = {
    Area.LOGIN: (
        *(f"/etc/{n}" for n in ("ssh", "default/ssh", "pam.d", "security", "nsswitch.conf")),
        *(f"/etc/{n}" for n in ("passwd", "shadow", "group", "gshadow", "login.defs", "shells")),
        *(f"/etc/{n}" for n in ("nologin", "hosts.allow", "hosts.deny", "ld.so.preload")),
    ),
    Area.RIGHTS: ("/etc/sudoers", "/etc/sudoers.d", "/etc/sudo.conf", "/etc/doas.conf"),
    Area.NETWORK: (
        *(f"/etc/{n}" for n in ("network", "netplan", "systemd/network", "NetworkManager")),
        *(f"/etc/{n}" for n in ("systemd/networkd.conf", "systemd/networkd.conf.d")),
        *(f"/etc/{n}" for n in ("wireguard", "wpa_supplicant", "dhcpcd.conf", "dhcp")),
    ),
    Area.FIREWALL: (
        *(f"/etc/{n}" for n in ("nftables.conf", "nftables.d", "iptables", "ufw", "firewalld")),
        *(f"/etc/{n}" for n in ("default/ufw", "fail2ban", "sysconfig/iptables")),
    ),
}
UNITS: dict[Area, tuple[str, ...]] = {
    Area.LOGIN: ("ssh.service", "sshd.service", "ssh.socket", "sshd.socket"),
    Area.RIGHTS: (),
    Area.NETWORK: (
        *("systemd-networkd.socket", "systemd-networkd.service"),
        *("networking.service", "NetworkManager.service"),
    ),
    Area.FIREWALL: ("nftables.service", "firewalld.service", "ufw.service"),
}
_UNIT: dict[Area, re.Pattern[str]] = {
    Area.LOGIN: re.compile(r"sshd?(@.*)?\.(service|socket)$"),
    Area.NETWORK: re.compile(
        r"(systemd-networkd|networking|NetworkManager|wpa_supplicant|wg-quick@|dhcpcd|ifup@)"
    ),
    Area.FIREWALL: re.compile(r"(nftables|firewalld|ufw|netfilter-persistent|ip6?tables)\."),
}
NETDEV = re.compile(r"/etc/systemd/network/05-strata-(.+)\.netdev")
_ROOT_GROUPS = {"sudo", "wheel", "admin", "root"}
_ACCOUNTS = tuple(
    f"/etc/{n}{old}"
    for n in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
    for old in ("", "-")
)
_UNIT_FILES = "/etc/systemd/system"
_ORIGINALS = "/var/lib/strata/originals"
_EDITS = "/var/lib/strata/edits"
_STARTS = {"service", "timer"}
_WAYS_IN = {"openssh-server": "sshd", "sudo": "sudo", "opendoas": "doas"}


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in: ``""`` where that is not known yet; then any user may be the one."""

    user: str = ""
    home: str = ""

    @property
    def folder(self) -> str:
        """Where the keys lie."""
        return self.home or ("/root" if self.user == "root" else f"/home/{self.user or '*'}")

    def may_be(self, user: str) -> bool:
        """Whether that user is the one, as far as is known."""
        return user == self.user if self.user else True


@dataclass(frozen=True, slots=True)
class Lifeline:
    """What some changes concern, as far as putting it back goes.

    Attributes:
        areas: What has to be made live.
        trees: Paths that are saved with all that lies in them.
        plain: Folders of which only mode and owner are saved.
        units: Units whose state is saved.
        settings: Kernel settings that are saved, as paths below /proc/sys.
        mounts: What is unmounted again if it was not mounted.
        links: Virtual interfaces that have to be made anew.
    """

    areas: frozenset[Area]
    trees: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


def concerns(change: Change, login: Login) -> frozenset[Area]:
    """The areas that a change can cut; empty for one that cannot cut us off."""
    kind, _, name = change.what.partition(" ")
    if kind in {"user", "group", "sysctl", "firewall", "wireguard"}:
        return _by_kind(kind, name, change, login)
    if kind in {"service", "unit", "timer"}:
        return frozenset(area for area, unit in _UNIT.items() if unit.match(name))
    if name.startswith("/"):
        return frozenset(
            area
            for area, paths in _paths(login).items()
            if any(_touches(kind, _path(kind, name), path) for path in paths)
        )
    return frozenset()


def _by_kind(kind: str, name: str, change: Change, login: Login) -> frozenset[Area]:
    if kind == "firewall":
        return frozenset({Area.FIREWALL})
    if kind == "wireguard":
        return frozenset({Area.NETWORK})
    if kind == "sysctl":
        return frozenset({Area.NETWORK} if name.startswith("net.") else ())
    if change.action is Action.CREATE or {f.field for f in change.fields} == {"comment"}:
        return frozenset()
    ours = login.may_be(name) if kind == "user" else name in {*_ROOT_GROUPS, login.user}
    return frozenset({Area.LOGIN, Area.RIGHTS} if ours else ())


def _paths(login: Login) -> dict[Area, tuple[str, ...]]:
    keys = (f"{login.folder}/.ssh",)
    return {**PATHS, Area.LOGIN: (*PATHS[Area.LOGIN], *keys)}


def _touches(kind: str, name: str, path: str) -> bool:
    """Whether a thing of that name lies at, below, or (a folder, a link) on the way to ``path``."""
    if path.startswith("/home/*/"):
        parts = name.split("/")
        return len(parts) > 3 and parts[1] == "home" and parts[3] == ".ssh"  # noqa: PLR2004
    below = name == path or name.startswith(f"{path}/")
    return below or (kind != "file" and path.startswith(f"{name.rstrip('/')}/"))


def _path(kind: str, name: str) -> str:
    """Lines and blocks are named by their file and something more."""
    whole = kind in {"file", "directory", "link", "absent", "edit", "mount"}
    return name if whole else name.split(" ", 1)[0].rstrip(":")


def in_order(changes: Sequence[Change], login: Login) -> tuple[Change, ...]:
    """The same changes, those that can cut us off marked, and side by side.

    What stands between them goes before the first of them, what starts programs after the last.
    """
    marked = [
        replace(c, disconnects=True, guarded=True) if concerns(c, login) else c for c in changes
    ]
    places = [i for i, c in enumerate(marked) if c.guarded]
    if not places:
        return tuple(changes)
    first, last = places[0], places[-1] + 1
    middle = marked[first:last]
    before = [c for c in middle if not c.guarded and not _starts(c)]
    after = [c for c in middle if not c.guarded and _starts(c)]
    guarded = [c for c in middle if c.guarded]
    return (*marked[:first], *before, *guarded, *after, *marked[last:])


def _starts(change: Change) -> bool:
    return change.what.split(" ", 1)[0] in _STARTS and change.action is not Action.DELETE


def blockers(changes: Iterable[Change], login: Login) -> tuple[Blocker, ...]:
    """What would lock us out for good: no timer can undo it, so it is not tried."""
    found = []
    for change in changes:
        kind, _, name = change.what.partition(" ")
        if change.action is not Action.DELETE:
            continue
        if kind == "user" and login.user == name:
            found.append(
                Blocker(
                    change.what,
                    "it is the user we log in as",
                    "let the lab log in as somebody else first, or keep it declared",
                )
            )
        program = _WAYS_IN.get(name) if kind == "package" else None
        if program == "sshd" or (program and login.user not in {"", "root"}):
            found.append(
                Blocker(
                    change.what,
                    f"without {program} nobody could come back to the host",
                    f"declare {name} under packages, or remove it by hand",
                )
            )
    return tuple(found)


def lifeline(changes: Iterable[Change], login: Login) -> Lifeline:
    """All that the given changes concern, as it has to be saved before they are made."""
    each = [_saved(change, login) for change in changes]
    areas = frozenset(area for line in each for area in line.areas)
    trees = {"/var/lib/strata/owned", *(path for line in each for path in line.trees)}
    units = {unit for line in each for unit in line.units}
    units |= {unit for area in areas for unit in UNITS[area]}
    if Area.FIREWALL in areas:
        trees |= {"/etc/nftables.conf", f"{_ORIGINALS}/etc/nftables.conf"}
        trees.add("/var/lib/strata/firewall")
    if Area.NETWORK in areas:
        trees.add("/etc/systemd/network")
    if units:
        trees.add(_UNIT_FILES)
    return Lifeline(
        areas,
        tuple(sorted(trees)),
        tuple(sorted({path for line in each for path in line.plain})),
        tuple(sorted(units)),
        tuple(sorted({path for line in each for path in line.settings})),
        tuple(sorted({path for line in each for path in line.mounts})),
        tuple(sorted({name for line in each for name in line.links})),
    )


def _saved(change: Change, login: Login) -> Lifeline:
    """What one change concerns."""
    kind, name = change.what.split(" ", 1)[0], name_of(change)
    areas = concerns(change, login)
    match kind:
        case "user" | "group":
            keys = () if "*" in login.folder else (f"{login.folder}/.ssh",)
            return Lifeline(areas, (*_ACCOUNTS, *keys))
        case "service" | "unit" | "timer":
            return Lifeline(areas, (f"{_ORIGINALS}{_UNIT_FILES}/{name}",), units=(name,))
        case "sysctl":
            conf = f"/etc/sysctl.d/99-zz-strata-{name}.conf"
            return Lifeline(areas, (conf,), settings=(name.replace(".", "/"),))
        case "directory":
            return Lifeline(areas, plain=(name,))
        case "mount":
            return Lifeline(areas, ("/etc/fstab",), mounts=(name,))
        case "wireguard":
            return Lifeline(areas, links=(name,))
        case "firewall":
            return Lifeline(areas)
    path = _path(kind, name)
    link = NETDEV.fullmatch(path) if change.action is not Action.CREATE else None
    kept = (f"{_ORIGINALS}{path}", *([f"{_EDITS}{path}"] if kind == "edit" else []))
    return Lifeline(areas, (path, *kept), links=(link[1],) if link else ())
