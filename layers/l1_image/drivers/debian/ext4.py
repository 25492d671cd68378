"""A root filesystem inside a raw disk, read and changed without mounting it: e2fsprogs alone.

Names come from a machine that may have been taken over, and debugfs reads commands as lines: a
name that could be anything but a name is refused.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from lab.clients.process import Finished, run
from lab.errors import DriverError
from lab.layer import Workspace

_MAGIC, _AT = b"\x53\xef", 1024 + 56
_LINE = re.compile(r"/(\d+)/(\d+)/(\d+)/(\d+)/([^/]*)/(\d*)/\Z")  # no name holds a slash
_ODD = re.compile(r'[\x00-\x1f\x7f"]')
_MENDED = 3  # 1: errors were corrected; 2: and a reboot is advised, which nobody needs here
_DEADLINE = 900.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory."""

    path: str
    mode: int

    @property
    def is_directory(self) -> bool:
        """Whether it may hold others."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)


@dataclass(frozen=True)
class Ext4:
    """The filesystem that begins at ``offset`` of ``disk`` and may take ``size`` bytes."""

    disk: Path
    offset: int
    size: int
    shown: str
    workspace: Workspace

    def mend(self) -> None:
        """Replay its journal and put right what a power cut left. Raises DriverError."""
        done = self._run(["e2fsck", "-f", "-y", self._where], check=False)
        if done.status & ~_MENDED:
            raise DriverError(
                f"Unable to use {self.shown}: its root filesystem is damaged.", lines=done.lines
            )

    def listings(self, folders: Iterable[str]) -> dict[str, list[Entry]]:
        """What lies in each of these directories; ``[]``: nothing, or it is none."""
        wanted = list(dict.fromkeys(folders))
        found: dict[str, list[Entry]] = {folder: [] for folder in wanted}
        said = self._commands([f"ls -p {_quoted(folder)}" for folder in wanted], writes=False)
        for folder, text in zip(wanted, said, strict=True):
            for line in filter(None, text.split("\n")):
                match = _LINE.match(line)
                if match is None:
                    raise self._odd(folder)
                if match[5] not in {".", ".."} and match[1] != "0":
                    path = f"{folder.rstrip('/')}/{match[5]}"
                    found[folder].append(Entry(path, int(match[2], 8)))
        return found

    def matching(self, patterns: Iterable[str]) -> list[Entry]:
        """What is there of these absolute paths; ``*`` may stand in any step of them."""
        rows = [(Entry("", stat.S_IFDIR), pattern.strip("/").split("/")) for pattern in patterns]
        found: dict[str, Entry] = {}
        while rows:
            there = self.listings(entry.path or "/" for entry, _ in rows)
            further = []
            for entry, steps in rows:
                for one in there[entry.path or "/"]:
                    if not fnmatchcase(one.path.rsplit("/", 1)[1], steps[0]):
                        continue
                    if len(steps) == 1:
                        found[one.path] = one
                    elif one.is_directory:
                        further.append((one, steps[1:]))
            rows = further
        return list(found.values())

    def below(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """These, and everything in those that are directories; a directory before what is in it."""
        level = list(entries)
        while level:
            yield from level
            there = self.listings(e.path for e in level if e.is_directory)
            level = [entry for entries_ in there.values() for entry in entries_]

    def remove(self, patterns: Sequence[str]) -> None:
        """Remove what matches, directories with all that is in them. Raises DriverError."""
        self._remove(list(self.below(self.matching(patterns))))
        left = self.matching(patterns)
        if left:
            raise self._kept(left[0].path)

    def empty(self, patterns: Sequence[str]) -> None:
        """Remove every file below what matches; the directories stay."""
        entries = [e for e in self.below(self.matching(patterns)) if not e.is_directory]
        self._remove(entries)
        left = [e for e in self.below(self.matching(patterns)) if not e.is_directory]
        if left:
            raise self._kept(left[0].path)

    def blank(self, path: str, near: Path) -> None:
        """An empty file of root's that everybody may read; ``near`` is a folder to work in."""
        self.put(path, b"", 0o444, near)

    def put(self, path: str, content: bytes, mode: int, near: Path) -> None:
        """A file of root's, in the place of what is there."""
        folder, _, name = path.rpartition("/")
        source = near / "put"
        source.unlink(missing_ok=True)
        source.write_bytes(content)
        source.chmod(mode)
        put = [f"cd {_quoted(folder)}", f"write {_quoted(str(source))} {name}"]
        own = [f"sif {_quoted(path)} {field} 0" for field in ("uid", "gid")]
        self.remove([path])
        self._commands([*put, *own], writes=True)
        if not any(e.is_file for e in self.matching([path])):
            raise self._kept(path)

    def dump(self, files: Mapping[str, Path]) -> None:
        """Copy regular files out of it: path in it to path here."""
        commands = [f"dump {_quoted(path)} {_quoted(str(to))}" for path, to in files.items()]
        for to in files.values():
            to.parent.mkdir(parents=True, exist_ok=True)
        self._commands(commands, writes=False)

    def copy_used(self, target: Path) -> None:
        """Write the filesystem alone to a file: what is in use, and zeros for all else."""
        self._run(["e2image", "-r", "-a", "-o", str(self.offset), self.disk, target])
        # e2image leaves out the copies of the superblock, which a kernel reads when it grows.
        replace(self, disk=target, offset=0).write_copies()

    def write_copies(self) -> None:
        """Write the superblock, as it is, to all the places where there is a copy of it."""
        self.mend()
        self._commands(["dirty", "close -a"], writes=True)

    def _remove(self, entries: Sequence[Entry]) -> None:
        files = [f"rm {_quoted(e.path)}" for e in entries if not e.is_directory]
        folders = [f"rmdir {_quoted(e.path)}" for e in reversed(entries) if e.is_directory]
        if files or folders:
            self._commands([*files, *folders], writes=True)

    def _commands(self, commands: Sequence[str], *, writes: bool) -> list[str]:
        """What debugfs says to each; complaints are left out: who needs to know looks again."""
        if not commands:
            return []
        words = ["debugfs", *(["-w"] if writes else []), "-f", "-", self._where]
        done = self._run(words, stdin="\n".join(commands).encode() + b"\n")
        text = done.stdout.decode("utf-8", "surrogateescape")
        pieces = re.split(r"^debugfs: .*\n?", text, flags=re.MULTILINE)
        return pieces[1 : len(commands) + 1]

    def _run(
        self, argv: Sequence[str | Path], *, stdin: bytes | None = None, check: bool = True
    ) -> Finished:
        return run(
            argv,
            doing=f"change {self.shown}",
            deadline=_DEADLINE,
            cancelled=self.workspace.cancelled,
            stdin=stdin,
            check=check,
            env={"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "DEBUGFS_PAGER": "cat"},
        )

    @property
    def _where(self) -> str:
        return f"{self.disk}?offset={self.offset}"

    def _odd(self, folder: str) -> DriverError:
        return DriverError(
            f"Unable to use {self.shown}: a name in {folder} holds a line break or a quote.",
            hint="rename it on the machine, and capture its disk again",
        )

    def _kept(self, path: str) -> DriverError:
        return DriverError(f"Unable to make a template of {self.shown}: {path} stays as it was.")


def root_of(disk: Path, shown: str, workspace: Workspace) -> Ext4:
    """The ext4 filesystem of a raw disk that holds an operating system. Raises DriverError."""
    env = {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    argv: list[str | Path] = ["sfdisk", "--json", disk]
    done = run(argv, doing=f"read the partitions of {shown}", deadline=60, env=env)
    table = json.loads(done.stdout)["partitiontable"]
    sector = int(table.get("sectorsize", 512))
    for partition in table.get("partitions", ()):
        offset, size = partition["start"] * sector, partition["size"] * sector
        with disk.open("rb") as file:
            file.seek(offset + _AT)
            if file.read(2) != _MAGIC:
                continue
        found = Ext4(disk, offset, size, shown, workspace)
        found.mend()
        if found.matching(["/usr/lib/os-release"]):
            return found
    raise DriverError(
        f"Unable to make a template of {shown}: it has no root filesystem of the kind ext4.",
        hint="only machines whose root is ext4 can be made templates of",
    )


def _quoted(path: str) -> str:
    """One word for debugfs. Raises DriverError for what no path of ours is."""
    if _ODD.search(path):
        raise DriverError(
            f"Unable to read the disk: the name {path!r} holds a line break or a quote.",
            hint="rename it on the machine, and capture its disk again",
        )
    return f'"{path}"'
