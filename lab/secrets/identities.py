"""Where the keys that open files are looked for: where upstream ``sops`` looks, and our own place.

They are loaded from the first source that opens a file; a later one is not even asked.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lab import folders
from lab.clients import process
from lab.errors import LabError
from lab.lazy import Lazy

if TYPE_CHECKING:
    from lab.secrets import age
    from lab.secrets.sops.metadata import Metadata
else:
    age = Lazy("lab.secrets.age")

_MAX_KEYS = 64 * 1024


def standard_file() -> Path:
    """Where upstream keeps a person's keys: a new one goes there, so that ``sops`` finds it."""
    return folders.config() / "sops" / "age" / "keys.txt"


def own_file(lab: str) -> Path:
    """A file of keys for one lab alone."""
    return folders.config() / "strata" / lab / "keys.txt"


class Keyring:
    """The identities of this person for one lab, each source read at most once."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self.renew()

    def renew(self) -> None:
        """Look for keys again."""
        self._known: list[list[age.Identity]] = []
        self._sources = self._each_source()
        self._data_keys: dict[tuple[str, ...], bytes] = {}

    def unwrap(self, meta: Metadata, name: str) -> bytes:
        """The data key of a file. Raises LabError where no key here opens it."""
        sealed = tuple(w.enc for w in meta.age)
        if sealed not in self._data_keys:
            self._data_keys[sealed] = self._opened(meta, name)
        return self._data_keys[sealed]

    def _opened(self, meta: Metadata, name: str) -> bytes:
        any_key = False
        for keys in self._batches():
            any_key = any_key or bool(keys)
            known = {k.recipient for k in keys}
            for wrapped in sorted(meta.age, key=lambda w: w.recipient not in known):
                opened = age.unwrap(wrapped.enc, keys)
                if opened is not None:
                    return opened
        if not any_key:
            raise LabError(
                f"Unable to read {name}: there is no age key on this machine.",
                hint=f"put your key into {standard_file()} (or SOPS_AGE_KEY_FILE); "
                "a new lab: lab secrets init",
            )
        readers = ", ".join(r[:24] for r in meta.recipients[:4])
        raise LabError(
            f"Unable to read {name}: it is not encrypted for any key of this machine"
            f" (but for {readers}).",
            hint="who can read it adds your public key to secrets/operators.txt, then:"
            " lab secrets rotate --keys",
        )

    def all(self) -> list[age.Identity]:
        """Every identity there is."""
        return [key for keys in self._batches() for key in keys]

    def _batches(self) -> Iterator[list[age.Identity]]:
        yield from list(self._known)
        for keys in self._sources:
            self._known.append(keys)
            yield keys

    def _each_source(self) -> Iterator[list[age.Identity]]:
        if text := os.environ.get("SOPS_AGE_KEY"):
            yield age.identities(text, "SOPS_AGE_KEY")
        if file := os.environ.get("SOPS_AGE_KEY_FILE"):
            yield age.identities(_text(Path(file), "SOPS_AGE_KEY_FILE"), file)
        for path in (own_file(self._lab), standard_file()):
            if path.exists():
                yield age.identities(_text(path, "the file of keys"), str(path))
        if command := os.environ.get("SOPS_AGE_KEY_CMD"):
            yield age.identities(_said(command), "SOPS_AGE_KEY_CMD")
        yield list(_ssh_keys())


def _ssh_keys() -> Iterator[age.Identity]:
    named = os.environ.get("SOPS_AGE_SSH_PRIVATE_KEY_FILE")
    home = Path.home() / ".ssh"
    for path in (Path(named),) if named else (home / "id_ed25519", home / "id_rsa"):
        if path.exists():
            identity = age.ssh_identity(_text(path, "the ssh key").encode(), str(path))
            if identity is not None:
                yield identity


def _said(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise LabError(f"Unable to run SOPS_AGE_KEY_CMD: {error}.") from None
    return process.run(words, doing="get the age key from SOPS_AGE_KEY_CMD").text


def _text(path: Path, what: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MAX_KEYS)
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is not text"
        raise LabError(f"Unable to read {what} {path}: {cause}.", hint=f"ls -l {path}") from None
