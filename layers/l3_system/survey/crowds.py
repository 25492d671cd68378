"""Folders full of files that no package brought (an unpacked program): told as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MANY = 40
"""Files; a folder with more of them counts as one thing."""

_SHARED = {"bin", "etc", "games", "include", "lib", "libexec", "sbin", "share", "src", "var"}
"""Folders of /usr/local that many things share: what is told as one lies below them."""


@dataclass(slots=True)
class _Folder:
    files: list[str] = field(default_factory=list)
    folders: dict[str, _Folder] = field(default_factory=dict)
    count: int = 0


def parted(paths: Iterable[str]) -> tuple[list[str], Mapping[str, tuple[str, ...]]]:
    """Single files; and the crowds, by their folder."""
    root = _Folder()
    for path in paths:
        *above, _ = path.split("/")[1:]
        here = root
        here.count += 1
        for name in above:
            here = here.folders.setdefault(name, _Folder())
            here.count += 1
        here.files.append(path)
    single: list[str] = []
    crowds: dict[str, tuple[str, ...]] = {}
    _part(root, (), single, crowds)
    return sorted(single), crowds


def _part(
    folder: _Folder, at: tuple[str, ...], single: list[str], crowds: dict[str, tuple[str, ...]]
) -> None:
    if folder.count > MANY and _is_of_one_thing(at):
        crowds["/" + "/".join(at)] = tuple(_all(folder))
        return
    for name, below in folder.folders.items():
        _part(below, (*at, name), single, crowds)
    if len(folder.files) > MANY and at:
        crowds["/" + "/".join(at)] = tuple(folder.files)
    else:
        single += folder.files


def _is_of_one_thing(at: tuple[str, ...]) -> bool:
    """/etc/x, /usr/local/x and /usr/local/lib/x are; /etc and /usr/local/lib are everybody's."""
    if at[:2] == ("usr", "local"):
        return len(at) > 3 or (len(at) == 3 and at[2] not in _SHARED)  # noqa: PLR2004
    return len(at) > 1


def _all(folder: _Folder) -> Iterable[str]:
    yield from folder.files
    for below in folder.folders.values():
        yield from _all(below)
