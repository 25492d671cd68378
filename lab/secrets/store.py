"""The secrets of one lab by their names: known without any key, decrypted when they are needed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import ConfigError, LabError, Problem
from lab.lazy import Lazy
from lab.masking import hide
from lab.secrets.folder import Folder
from lab.secrets.identities import Keyring

if TYPE_CHECKING:
    from lab.secrets.sops import cipher, document, sealing, tree
    from lab.secrets.sops.document import Opened, Sealed
else:  # a lab without secrets needs none of it
    cipher = Lazy("lab.secrets.sops.cipher")
    document = Lazy("lab.secrets.sops.document")
    sealing = Lazy("lab.secrets.sops.sealing")
    tree = Lazy("lab.secrets.sops.tree")


@dataclass(frozen=True)
class Entry:
    """One secret: in which file, at which path, and what stands there (most often encrypted)."""

    name: str
    file: Sealed
    path: tuple[str, ...]
    raw: Any
    where: str

    @property
    def is_public(self) -> bool:
        """Whether it stands there in clear, as the public half of a key does."""
        return not cipher.is_sealed(self.raw)


class Store:
    """What the model asks for values; safe to use from several threads.

    ``lenient``: names that are not there yet are no mistakes, as somebody is about to make them.
    """

    def __init__(self, root: Path, lab: str, *, lenient: bool = False) -> None:
        self.folder = Folder(root)
        self.keyring = Keyring(lab)
        self._lenient = lenient
        self._lock = threading.RLock()
        self._entries: dict[str, Entry] | None = None
        self._files: dict[str, Sealed] = {}
        self._opened: dict[str, Opened] = {}
        self._problems: list[Problem] = []

    def renew(self) -> None:
        """Forget what was read: files have changed."""
        with self._lock:
            self._entries = None
            self._files, self._opened, self._problems = {}, {}, []

    def entries(self) -> dict[str, Entry]:
        """Every secret by its name. What cannot be read is among :meth:`problems`."""
        with self._lock:
            if self._entries is None:
                self._entries = {}
                for path in self.folder.files():
                    self._take(path, self._entries)
            return self._entries

    def _take(self, path: Path, entries: dict[str, Entry]) -> None:
        name = self.folder.name(path)
        try:
            sealed = document.read(path, name)
        except ConfigError as error:
            self._problems += error.problems
            return
        self._files[name] = sealed
        for keys, item in sealed.leaves():
            secret = ".".join(keys)
            where = f"{name}:{item.where}" if item.where else name
            if secret in entries:
                what = f"the secret {secret!r} stands in {entries[secret].where} already"
                self._problems.append(Problem(where, what))
                continue
            entries[secret] = Entry(secret, sealed, keys, item.value, where)

    def files(self) -> dict[str, Sealed]:
        """Every file of secrets that can be read, by what users call it."""
        self.entries()
        return self._files

    def problems(self) -> Sequence[Problem]:
        """What is wrong with the files themselves, as far as they were looked at."""
        return () if self._lenient else tuple(self._problems)

    def faults(self) -> Sequence[Problem]:
        """What is wrong with the files."""
        self.entries()
        return tuple(self._problems)

    def problem(self, name: str) -> str | None:
        """Why a name cannot be used, with the nearest right one and the command that makes it."""
        known = self.entries()
        if self._lenient or name in known:
            return None
        if not self.folder.path.is_dir():
            return f"there is no secret {name!r}, this lab has none yet; try: lab secrets init"
        near = get_close_matches(name, known, n=1, cutoff=0.6)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        return f"there is no secret {name!r}{meant} To make it: lab secrets set {name}"

    def fingerprint(self, name: str) -> str:
        """Of what stands in the file: it changes with the value, or when it is encrypted anew."""
        entry = self.entries().get(name)
        if entry is None:
            return ""
        return hashlib.sha256(f"{name}={entry.raw}".encode()).hexdigest()[:16]

    def entry(self, name: str) -> Entry:
        """The secret of that name. Raises LabError."""
        with self._lock:
            entry = self.entries().get(name)
            if entry is None:
                if self._problems:
                    raise ConfigError(self._problems)
                raise LabError(
                    f"Unable to use the secret {name}: there is none of that name.",
                    hint=f"lab secrets list, or make it: lab secrets set {name}",
                )
            return entry

    def reveal(self, name: str) -> str:
        """The value as text, decrypted now if it was not before. Raises LabError."""
        with self._lock:
            entry = self.entry(name)
            value: Any = self.opened(entry.file).tree
            for key in entry.path:
                value = value.get(key) if isinstance(value, tree.Branch) else None
            text = text_of(value)
            if not entry.is_public:
                hide(text, name)
            return text

    def opened(self, sealed: Sealed) -> Opened:
        """A file in clear. Raises LabError."""
        with self._lock:
            if sealed.name not in self._opened:
                self._opened[sealed.name] = sealing.unlock(sealed, self.keyring.unwrap)
            return self._opened[sealed.name]


def text_of(value: Any) -> str:
    """A scalar as text: ``true``, ``12``, ``""`` for none."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
