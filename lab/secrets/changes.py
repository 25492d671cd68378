"""Changing secrets: beginning, setting, removing, encrypting anew. Every change is one file, whole.

Whoever calls these holds the folder; a crash between two files leaves each of them right, and the
same command finishes the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from lab.errors import ConfigError, LabError, Problem
from lab.secrets import age
from lab.secrets.folder import FOLDER, OPERATORS, write
from lab.secrets.identities import standard_file
from lab.secrets.notes import annotate
from lab.secrets.readers import Readers, Uses, renew_key
from lab.secrets.sops import document, sealing
from lab.secrets.sops.cipher import is_sealed
from lab.secrets.sops.document import SUFFIXES, Opened, Sealed
from lab.secrets.sops.tree import Branch, leaves
from lab.secrets.store import Store

NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")
MAX_VALUE = 512 * 1024


class Changes:
    """The changes of one lab's secrets; ``uses`` tells who reads what."""

    def __init__(self, store: Store, uses: Uses) -> None:
        self.store, self.uses = store, uses
        self.readers = Readers(store, uses)

    def begin(self) -> list[str]:
        """Bring the folder in order; returns what was done, in words. Again: nothing."""
        done: list[str] = []
        mine = [k.recipient for k in self.store.keyring.all() if k.recipient]
        if not mine:
            pair = age.new_key()
            _keep_key(pair)
            self.store.keyring.renew()
            mine = [pair.public]
            done.append(f"made your key {pair.public} in {standard_file()}: keep a copy elsewhere")
        if not self.store.folder.operators.exists():
            keys = tuple(dict.fromkeys((*mine, *self._upstream_keys())))
            self.readers.write_operators(keys)
            done.append(f"wrote {FOLDER}/{OPERATORS}: {', '.join(keys)}")
        if not set(mine) & set(self.readers.operators()):
            raise LabError(
                f"Unable to go on: {mine[0]} is not among the operators.",
                hint=f"have one of them add it to {FOLDER}/{OPERATORS}, then:"
                " lab secrets rotate --keys",
            )
        used = {h for name in self.store.entries() for h in self.uses.get(name, ())}
        done += [f"made the key of {h}" for h in sorted(used) if self._made_host(h)]
        done += self.encrypt_anew(exact=False)
        if self.readers.write_rules():
            done.append("wrote .sops.yaml")
        return done

    def _made_host(self, host: str) -> bool:
        there = self.store.folder.host_file(host).exists()
        self.readers.host(host)
        return not there

    def _upstream_keys(self) -> list[str]:
        """The age keys of a ``.sops.yaml`` that somebody wrote for upstream."""
        try:
            text = self.store.folder.rules.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return []
        return [k for k in dict.fromkeys(re.findall(r"\bage1[a-z0-9]{20,}\b", text))
                if age.is_recipient(k)]  # fmt: skip

    def put(
        self,
        values: Mapping[str, Any],
        file: str | None = None,
        note: str = "",
        *,
        anew: bool = False,
    ) -> str:
        """Give secrets their values (``name_public`` stays readable); returns the file's name.

        They stay in the file they are in; new ones get a file of their own, or ``file``. ``note``
        tells how the first was made: an encrypted comment above it. ``anew``: with a new data key.
        """
        first = next(iter(values))
        entry = self.store.entries().get(first)
        for name, value in values.items():
            check_value(name, value)
        if entry is None:
            check_name(first)
        opened = self._opened(entry.file if entry else None, file, first)
        at = entry.path if entry else (first,)
        if not opened.sealed.meta.rule.encrypts(at, [], own=False):
            raise LabError(
                f"Unable to keep {first} secret: {opened.sealed.name} leaves it in clear"
                f" ({opened.sealed.meta.rule.kind}: {opened.sealed.meta.rule.word}).",
                hint="another name",
            )
        for name, value in values.items():
            _place(opened.tree, (*at[:-1], at[-1] + name.removeprefix(first)), value)
        annotate(opened.tree, at, note)
        if anew:
            renew_key(opened)
        self._save(opened, exact=False)
        return opened.sealed.name

    def _opened(self, there: Sealed | None, file: str | None, name: str) -> Opened:
        """The file to write into: the one a secret stands in, else a named one, else its own."""
        if there is not None:
            return self.store.opened(there)
        path = self.path_of(file or f"{name}.yaml")
        shown = self.store.folder.name(path)
        known = self.store.files().get(shown)
        if known is not None:
            return self.store.opened(known)
        if path.exists():
            raise ConfigError([p for p in self.store.faults() if p.where.startswith(shown)]
                              or [Problem(shown, "this file cannot be read")])  # fmt: skip
        return document.begun(path, shown)

    def path_of(self, file: str) -> Path:
        """The path of a file of secrets that the user names. Raises LabError for any other."""
        name = PurePosixPath(file)
        inner = name.relative_to(FOLDER) if name.parts[:1] == (FOLDER,) else name
        if (
            inner.is_absolute()
            or ".." in inner.parts
            or not inner.parts
            or inner.parts[0] == "hosts"
        ):
            raise LabError(
                f"Unable to use {file}: secrets stand in {FOLDER}/, in files of their own."
            )
        if inner.suffix not in SUFFIXES:
            raise LabError(
                f"Unable to use {file}: it must end in one of {', '.join(SUFFIXES)}.",
                hint=f"{FOLDER}/{inner.with_suffix('.yaml')}",
            )
        return self.store.folder.path / inner

    def _save(self, opened: Opened, *, exact: bool) -> None:
        """Write one file for those who are to read it, and what upstream goes by."""
        try:
            names = secret_names(opened.tree, opened.sealed)
            wrapped = self.readers.wrap(opened, names, exact=exact)
            write(opened.sealed.path, sealing.lock(opened, opened.tree, wrapped))
        finally:
            self.store.renew()
        self.readers.write_rules()

    def replace(self, opened: Opened, tree: Branch) -> None:
        """Give a whole file other values."""
        for path, item in leaves(tree):
            check_value(".".join(path), item.value)
        opened.tree = tree
        self._save(opened, exact=False)

    def remove(self, name: str) -> None:
        """Take a secret away, and its file where nothing else is in it."""
        entry = self.store.entry(name)
        opened = self.store.opened(entry.file)
        parent: Any = opened.tree
        for key in entry.path[:-1]:
            parent = parent.get(key)
        parent.drop(entry.path[-1])
        if any(True for _ in leaves(opened.tree)):
            self._save(opened, exact=False)
            return
        entry.file.path.unlink(missing_ok=True)
        self.store.renew()
        self.readers.write_rules()

    def encrypt_anew(self, *, exact: bool) -> list[str]:
        """Encrypt every file for those who are to read it now; returns what was done, in words.

        ``exact``: with new data keys, for nobody else; otherwise only where somebody is missing.
        """
        done = []
        for sealed in list(self.store.files().values()):
            names = [n for n, e in self.store.entries().items()
                     if e.file.name == sealed.name and not e.is_public]  # fmt: skip
            wanted = self.readers.wanted(names)
            if exact or set(wanted) - set(sealed.meta.recipients):
                self._save(self.store.opened(sealed), exact=exact)
                done.append(f"encrypted {sealed.name} for {len(wanted)} keys")
        for path in sorted((self.store.folder.path / "hosts").glob("*.yaml")):
            done += self._host_file(path, exact=exact)
        return done

    def _host_file(self, path: Path, *, exact: bool) -> list[str]:
        """A host's own key is for the operators alone."""
        sealed = document.read(path, self.store.folder.name(path))
        if not exact and set(self.readers.operators()) <= set(sealed.meta.recipients):
            return []
        opened = self.store.opened(sealed)
        try:
            wrapped = self.readers.wrap(opened, (), exact=exact)
            write(path, sealing.lock(opened, opened.tree, wrapped))
        finally:
            self.store.renew()
        return [f"encrypted {sealed.name} for {len(wrapped)} keys"]


def _keep_key(pair: age.KeyPair) -> None:
    path = standard_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    write(path, f"{text}# public key: {pair.public}\n{pair.private}\n", mode=0o600)


def secret_names(tree: Branch, sealed: Sealed) -> list[str]:
    """The names in a document that its rule encrypts."""
    rule = sealed.meta.rule
    return [".".join(path) for path, _ in leaves(tree) if rule.encrypts(path, [], own=False)]


def _place(tree: Branch, path: tuple[str, ...], value: Any) -> None:
    here = tree
    for key in path[:-1]:
        inner = here.get(key)
        if not isinstance(inner, Branch):
            inner = Branch()
            here.put(key, inner)
        here = inner
    here.put(path[-1], value)


def check_name(name: str) -> None:
    """Raise LabError for what cannot be the name of a secret."""
    if not NAME.match(name) or name == "sops" or name.startswith("sops_"):
        raise LabError(
            f"Unable to use {name[:80]!r} as the name of a secret.",
            hint="letters, digits, _ . and -, at most 100, like db_password",
        )


def check_value(name: str, value: Any) -> None:
    """Raise LabError for what cannot be a secret's value."""
    text = str(value) if value is not None else ""
    if len(text) > MAX_VALUE:
        raise LabError(f"Unable to keep {name}: {len(text)} characters are more than {MAX_VALUE}.")
    if is_sealed(value):
        raise LabError(f"Unable to keep {name}: this value is encrypted already.")
    if "\0" in text or any(0xD800 <= ord(c) <= 0xDFFF for c in text):  # noqa: PLR2004 (surrogates)
        raise LabError(
            f"Unable to keep {name}: it is not text.",
            hint="encode it first: base64 FILE | lab secrets set NAME",
        )
