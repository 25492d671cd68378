"""What a finished tree holds, read from its own records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from lab.model.baseline import Account, Baseline

STATUS = "var/lib/dpkg/status"
RELEASE = "usr/lib/os-release"
RECORDS = (STATUS, RELEASE, "etc/passwd", "etc/group")
"""What :func:`read` reads besides the configuration files."""


def read(tree: Path, units: str) -> Baseline:
    """The baseline of ``tree``; ``units`` is what ``systemctl list-unit-files`` said in it."""
    packages: dict[str, str] = {}
    conffiles: dict[str, str] = {}
    for stanza in _stanzas(tree / STATUS):
        if stanza.get("Status") != "install ok installed":
            continue
        packages[stanza["Package"]] = stanza["Version"]
        for line in stanza.get("Conffiles", "").splitlines():
            path = line.strip().split(" ")[0]
            digest = _sha256(tree, path)
            if digest:
                conffiles[path] = digest
    release = dict(
        line.replace('"', "").split("=", 1)
        for line in (tree / RELEASE).read_text().splitlines()
        if "=" in line
    )
    groups = [line.split(":") for line in (tree / "etc/group").read_text().splitlines()]
    return Baseline(
        complete=True,
        distribution=release.get("ID", ""),
        release=release.get("VERSION_ID", ""),
        packages=packages,
        users=dict(_accounts(tree, groups)),
        groups={name: int(gid) for name, _, gid, _ in groups},
        units=dict(_units(units)),
        conffiles=conffiles,
    )


def conffiles(tree: Path) -> frozenset[str]:
    """The paths of the packaged configuration files that ``tree`` has a record of."""
    return frozenset(
        line.strip().split(" ")[0]
        for stanza in _stanzas(tree / STATUS)
        for line in stanza.get("Conffiles", "").splitlines()
        if line.strip()
    )


def _accounts(tree: Path, groups: list[list[str]]) -> Iterator[tuple[str, Account]]:
    for line in (tree / "etc/passwd").read_text().splitlines():
        name, _, uid, gid, _, home, shell = line.split(":")
        member = tuple(g for g, _, _, members in groups if name in members.split(","))
        yield name, Account(uid=int(uid), gid=int(gid), home=home, shell=shell, groups=member)


def _units(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2:  # noqa: PLR2004 (name, what is-enabled says, and maybe the preset)
            yield words[0], words[1]


def _stanzas(path: Path) -> Iterator[dict[str, str]]:
    for block in path.read_text(errors="replace").split("\n\n"):
        stanza: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith(" "):
                stanza[name] += f"\n{line}"
            elif ":" in line:
                name, _, value = line.partition(":")
                stanza[name] = value.strip()
        if "Package" in stanza:
            yield stanza


def _sha256(tree: Path, path: str) -> str:
    """Digest of a file of the tree; ``""`` where it is gone, a link, or not ours to read."""
    inside = tree / path.lstrip("/")
    try:
        if inside.is_symlink() or not inside.resolve().is_relative_to(tree.resolve()):
            return ""
        return hashlib.sha256(inside.read_bytes()).hexdigest()
    except OSError:
        return ""
