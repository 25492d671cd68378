"""A SOPS file as a whole: read within bounds, in clear and encrypted, in each of its formats."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.secrets.sops import flat, yaml_read, yaml_write
from lab.secrets.sops.metadata import PUBLIC, Metadata, Rule, read_metadata
from lab.secrets.sops.tree import MAX_BYTES, Branch, Comment, Item, leaves, wrong

SUFFIXES = (".yaml", ".yml", ".json", ".env")
Stash = dict[tuple[str, str, bytes], bytes]


@dataclass(frozen=True)
class Sealed:
    """A file as it stands on the disk; its names are readable without any key.

    Attributes:
        name: What the user calls the file, for messages.
        tree: The values, most of them encrypted, without the ``sops`` section.
        indent: Columns, where it is YAML.
    """

    path: Path
    name: str
    tree: Branch
    meta: Metadata
    indent: int = 4

    def leaves(self) -> Iterator[tuple[tuple[str, ...], Item]]:
        """Every scalar that mappings lead to: its path, and its item as it stands there."""
        return leaves(self.tree)


@dataclass
class Opened:
    """A file whose data key is known, and its values in clear.

    ``fresh``: the data key is a new one, which no recipient holds yet.
    """

    sealed: Sealed
    key: bytes = field(repr=False)
    tree: Branch = field(repr=False)
    stash: Stash = field(repr=False, default_factory=dict)
    fresh: bool = False

    def renew(self) -> None:
        """Take a new data key; every value will be encrypted anew."""
        self.key, self.stash, self.fresh = os.urandom(32), {}, True


def read(path: Path, name: str) -> Sealed:
    """Read a file. Raises ConfigError where it is none of SOPS's, or hostile, or cannot be read."""
    text = read_text(path, name)
    tree, sops = parts(text, path, name)
    if sops is None:
        raise wrong(
            name, "", f"its values stand here in clear; encrypt them: lab secrets edit {name}"
        )
    return Sealed(path, name, tree, read_metadata(sops, name), yaml_read.indent_of(text))


def read_text(path: Path, name: str) -> str:
    """The text of a file of bounded size. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise wrong(name, "", f"it cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise wrong(name, "", f"it has more than the {MAX_BYTES} bytes allowed")
    try:
        return raw.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise wrong(name, "", f"this is not UTF-8 text (byte {error.start})") from None


def parse(text: str, path: Path, name: str) -> Branch:
    """A text in clear, in the format that the path's suffix says. Raises ConfigError."""
    if path.suffix == ".json":
        return flat.parse_json(text, name)
    return flat.parse_env(text, name) if path.suffix == ".env" else yaml_read.parse(text, name)


def emit(tree: Branch, path: Path, name: str, indent: int = 4) -> str:
    """The text of a tree, in that format."""
    if path.suffix == ".json":
        return flat.emit_json(tree)
    return flat.emit_env(tree, name) if path.suffix == ".env" else yaml_write.emit(tree, indent)


def is_encrypted(text: str, path: Path, name: str) -> bool:
    """Whether the text has a ``sops`` section. Raises ConfigError where it is none at all."""
    return parts(text, path, name)[1] is not None


def parts(text: str, path: Path, name: str) -> tuple[Branch, Any]:
    """The values and the ``sops`` section, ``None`` where there is none."""
    whole = parse(text, path, name)
    if path.suffix == ".env":
        return flat.lifted(whole)
    sops = whole.get("sops")
    kept = [e for e in whole.entries if isinstance(e, Comment) or e.key != "sops"]
    return Branch(kept), sops


def whole(tree: Branch, meta: Metadata, sealed: Sealed) -> str:
    """The text of a file: its values, encrypted by now, and its ``sops`` section."""
    if sealed.path.suffix == ".env":
        return flat.emit_env(flat.lowered(tree, meta.tree()), sealed.name)
    both = Branch([*tree.entries, Item("sops", meta.tree())])
    return emit(both, sealed.path, sealed.name, sealed.indent)


def begun(path: Path, name: str, rule: Rule | None = None) -> Opened:
    """A file that is not there yet, with a fresh data key and no recipients."""
    meta = Metadata(age=(), rule=rule or Rule("unencrypted_regex", PUBLIC))
    return Opened(Sealed(path, name, Branch(), meta), os.urandom(32), Branch())
