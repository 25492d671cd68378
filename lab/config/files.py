"""The files that a lab's YAML names: looked for beside the file that names them, read once."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from lab.config.tree import PlacedText
from lab.model.files import LabFile, LabTree

MAX_FILE = 64 * 1024 * 1024
MAX_TREE_FILES = 10_000


class LabReader:
    """Reads files inside the lab's root, and nothing outside it, whatever links say."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._files: dict[Path, LabFile] = {}
        self._trees: dict[Path, LabTree] = {}

    def file(self, value: str) -> LabFile:
        """The file that ``value`` names. Raises ValueError in plain words."""
        return self._read(self._resolve(value))

    def tree_of(self, value: str) -> tuple[LabFile, LabTree]:
        """The file, and the folder around it with all its files."""
        path = self._resolve(value)
        main = self._read(path)
        folder = path.parent
        if folder not in self._trees:
            self._trees[folder] = self._tree(folder)
        return main, self._trees[folder]

    def folder(self, value: str, within: str, elsewhere: tuple[str, ...] = ()) -> LabTree:
        """The folder of that name inside the lab, else outside; ValueError where there is none."""
        name = _inner(f"{within}/{value}")
        places = self._places(value)
        for path in (place / name for place in places):
            if path.is_dir():
                real = self._inside(path, value)
                if real not in self._trees:
                    self._trees[real] = self._tree(real)
                return self._trees[real]
        for other in elsewhere:
            outside = Path(other).expanduser() / value
            if outside.is_dir():
                return LabTree(str(outside), ())
        looked = [f"{(place / within).relative_to(self.root)}/" for place in places]
        present = [p.name for place in places for p in (place / within).glob("*") if p.is_dir()]
        near = get_close_matches(value, present, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"there is no {value!r} in {', '.join(dict.fromkeys((*looked, *elsewhere)))}{guess}"
        )

    def _tree(self, folder: Path) -> LabTree:
        if folder == self.root:
            raise ValueError(
                "it must stand in a folder of its own: that whole folder is sent along"
            )
        files: list[LabFile] = []
        for current, folders, names in os.walk(folder):
            folders[:] = sorted(f for f in folders if f not in {".git", "__pycache__"})
            files += [self._read(self._inside(Path(current, n), n)) for n in sorted(names)]
            if len(files) > MAX_TREE_FILES:
                raise ValueError(f"its folder holds more than {MAX_TREE_FILES} files")
        return LabTree(folder.relative_to(self.root).as_posix(), tuple(files))

    def _resolve(self, value: str) -> Path:
        name = _inner(value)
        folders = self._places(value)
        for folder in folders:
            path = folder / name
            if path.is_dir():
                raise ValueError(f"{value!r} is a folder, a file is expected here")
            if path.exists():
                return self._inside(path, value)
        looked = folders[0].relative_to(self.root)
        raise ValueError(f"there is no file {value!r} in {looked}/{self._near(folders[0], name)}")

    def _places(self, value: str) -> list[Path]:
        """Where to look: beside the file that names it, then in the lab."""
        if not isinstance(value, PlacedText):
            return [self.root]
        beside = self.root / PurePosixPath(value.place.file).with_suffix("")
        return [beside, beside.parent, self.root]

    def _near(self, folder: Path, name: PurePosixPath) -> str:
        try:
            present = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
        except OSError:
            return ""
        near = get_close_matches(str(name), present, n=1)
        return f"; did you mean {near[0]!r}?" if near else ""

    def _inside(self, path: Path, value: str) -> Path:
        real = path.resolve()
        if not real.is_relative_to(self.root):
            raise ValueError(f"{value!r} is a link that leads out of the lab")
        return real

    def _read(self, path: Path) -> LabFile:
        known = self._files.get(path)
        if known is None:
            try:
                status = path.stat()
                if status.st_size > MAX_FILE:
                    raise ValueError(f"{path.name} is larger than {MAX_FILE >> 20} MiB")
                content = path.read_bytes()
            except OSError as error:
                raise ValueError(f"{path.name} cannot be read: {error.strerror}") from error
            name = path.relative_to(self.root).as_posix()
            known = LabFile(name, content, executable=bool(status.st_mode & 0o100))
            self._files[path] = known
        return known


def _inner(value: str) -> PurePosixPath:
    """A path inside the lab. Raises ValueError where it is none."""
    name = PurePosixPath(value)
    if not value or name.is_absolute() or ".." in name.parts or "\0" in value:
        raise ValueError(
            f"{value!r}: a file of this lab is named by a path inside it, without '..'"
        )
    return name
