"""Decrypting a document and checking its MAC; encrypting it so that what is the same stays so."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lab.errors import LabError
from lab.secrets.sops.cipher import UnsealError, aes, is_sealed, kind_of, seal, unseal
from lab.secrets.sops.document import Opened, Sealed, Stash, parts, whole
from lab.secrets.sops.metadata import Metadata, Wrapped, read_metadata
from lab.secrets.sops.scalars import as_bytes
from lab.secrets.sops.tree import Branch, Comment, Item, walk, wrong

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_ONLY_ENCRYPTED = hashlib.sha256(b"sops").digest()  # begins a MAC over encrypted values alone
_PATIENCE = 2.0  # seconds for the regular expression of a file
Unwrap = Callable[[Metadata, str], bytes]
"""Gives the data key of a file. Raises LabError."""


def unlock(sealed: Sealed, unwrap: Unwrap) -> Opened:
    """Decrypt every value and check the MAC. Raises LabError naming the file and the value."""
    key = unwrap(sealed.meta, sealed.name)
    if len(key) != 32:  # noqa: PLR2004 (AES-256)
        raise _damaged(sealed.name, "its data key is not one of SOPS's")
    opening = _Opening(sealed, aes(key))
    tree = walk(sealed.tree, opening.visit)
    opening.check()
    return Opened(sealed, key, _cleaned(tree), opening.stash)


class _Opening:
    """Decrypts value after value, and hashes what the MAC covers."""

    def __init__(self, sealed: Sealed, cipher: AESGCM) -> None:
        self.stash: Stash = {}
        self._sealed, self._cipher = sealed, cipher
        self._covered = _Covered(sealed.meta, sealed.name)

    def visit(self, value: Any, path: tuple[str, ...], comments: list[list[str]]) -> Any:
        own = isinstance(value, Comment)
        encrypted = self._covered.encrypts(path, comments, own=own)
        if isinstance(value, Comment):
            return self._comment(value, path) if encrypted else value
        clear = self._open(value, path) if encrypted else value
        if not isinstance(clear, Comment):
            self._covered.add(clear, encrypted=encrypted)
        return clear

    def _open(self, value: Any, path: tuple[str, ...]) -> Any:
        if value == "":
            return ""
        shown = ".".join(path)
        if not is_sealed(value):
            raise _damaged(self._sealed.name, f"{shown} stands there in clear")
        place = place_of(path)
        try:
            clear, iv = unseal(self._cipher, value, place)
        except UnsealError as error:
            raise _damaged(self._sealed.name, f"{shown} does not open: {error}") from None
        raw = as_bytes(clear.text if isinstance(clear, Comment) else clear)
        self.stash[place, kind_of(clear), raw] = iv
        return clear

    def _comment(self, comment: Comment, path: tuple[str, ...]) -> Comment:
        """Its text; one that does not open was never encrypted, and stays as it is."""
        if not is_sealed(comment.text):
            return comment
        for length in range(len(path), -1, -1):  # a comment may have moved out of a block
            place = place_of(path[:length])
            try:
                clear, iv = unseal(self._cipher, comment.text, place)
            except UnsealError:
                continue
            if isinstance(clear, Comment):
                self.stash[place_of(path), "comment", clear.text.encode()] = iv
                return replace(clear, inline=comment.inline)
        return comment

    def check(self) -> None:
        """Compare the MAC that the file holds. Raises LabError."""
        meta, name = self._sealed.meta, self._sealed.name
        if not meta.mac:
            raise _damaged(name, "it holds no MAC, which would tell whether it was changed")
        try:
            held, _ = unseal(self._cipher, meta.mac, meta.modified)
        except UnsealError:
            raise _damaged(name, "its MAC or its lastmodified was changed") from None
        if not hmac.compare_digest(str(held).encode(), self._covered.mac().encode()):
            raise _damaged(
                name, "its MAC does not match its values: some were changed, moved or cut"
            )


class _Covered:
    """The MAC over a document's values, in order."""

    def __init__(self, meta: Metadata, name: str) -> None:
        self._rule, self._only, self._name = meta.rule, meta.mac_only_encrypted, name
        self._hash = hashlib.sha512(_ONLY_ENCRYPTED if self._only else b"")
        self._ends = time.monotonic() + _PATIENCE

    def encrypts(self, path: tuple[str, ...], comments: list[list[str]], *, own: bool) -> bool:
        """What the file's rule says, as long as that does not take for ever."""
        if time.monotonic() > self._ends and self._rule.kind.endswith("regex"):
            raise wrong(self._name, "", f"its {self._rule.kind} takes too long to run")
        return self._rule.encrypts(path, comments, own=own)

    def add(self, value: Any, *, encrypted: bool) -> None:
        """The next value."""
        if encrypted or not self._only:
            self._hash.update(as_bytes(value))

    def mac(self) -> str:
        """As SOPS writes it."""
        return self._hash.hexdigest().upper()


def place_of(path: Sequence[str]) -> str:
    """What ties a value to its place."""
    return ":".join(path) + ":"


def _cleaned(value: Any) -> Any:
    """Without encrypted comments that stood where values stand (other tools put them there)."""
    if isinstance(value, Branch):
        kept = [
            Item(e.key, _cleaned(e.value), e.where) if isinstance(e, Item) else e
            for e in value.entries
        ]
        return Branch(
            [e for e in kept if not (isinstance(e, Item) and isinstance(e.value, Comment))]
        )
    return [_cleaned(v) for v in value] if isinstance(value, list) else value


def _damaged(name: str, why: str) -> LabError:
    return LabError(
        f"Unable to use the secrets in {name}: {why}.",
        hint=f"git log -p {name}, and take the last good version: git checkout COMMIT -- {name}",
    )


def lock(opened: Opened, tree: Branch, age: Sequence[Wrapped] | None = None) -> str:
    """The text of the file with these values, for the same recipients unless ``age`` says others.

    A value that did not change keeps its ciphertext. Raises ConfigError for what cannot be held.
    """
    sealed, cipher = opened.sealed, aes(opened.key)
    meta = sealed.meta if age is None else sealed.meta.renewed(age)
    covered = _Covered(meta, sealed.name)

    def visit(value: Any, path: tuple[str, ...], comments: list[list[str]]) -> Any:
        own = isinstance(value, Comment)
        encrypted = covered.encrypts(path, comments, own=own)
        if not isinstance(value, Comment):
            covered.add(value, encrypted=encrypted)
        if not encrypted:
            return value
        place, raw = place_of(path), as_bytes(value.text if isinstance(value, Comment) else value)
        text = seal(cipher, value, place, opened.stash.get((place, kind_of(value), raw)))
        return replace(value, text=text) if isinstance(value, Comment) else text

    try:
        encrypted_tree: Branch = walk(tree, visit)
    except ValueError as error:
        raise wrong(sealed.name, "", str(error)) from None
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    meta = replace(meta, modified=now, mac=seal(cipher, covered.mac(), now))
    text = whole(_as_items(encrypted_tree), meta, sealed)
    _prove(text, sealed, opened.key, tree)
    return text


def _as_items(value: Any) -> Any:
    """Encrypted comments in lists are items of them: that is how SOPS writes them."""
    if isinstance(value, Branch):
        entries = [
            Item(e.key, _as_items(e.value)) if isinstance(e, Item) else e for e in value.entries
        ]
        return Branch(entries)
    if isinstance(value, list):
        return [
            v.text if isinstance(v, Comment) and is_sealed(v.text) else _as_items(v) for v in value
        ]
    return value


def _prove(text: str, sealed: Sealed, key: bytes, tree: Branch) -> None:
    """Read back what is about to be written: it must hold the same values."""
    values, sops = parts(text, sealed.path, sealed.name)
    again = unlock(
        Sealed(sealed.path, sealed.name, values, read_metadata(sops, sealed.name)),
        lambda _meta, _name: key,
    )
    if list(_facts(again.tree)) != list(_facts(tree)):
        raise wrong(sealed.name, "", "a value in it cannot be written so that it reads the same")


def _facts(tree: Branch) -> Iterator[tuple[tuple[str, ...], str, bytes]]:
    found: list[tuple[tuple[str, ...], str, bytes]] = []

    def visit(value: Any, path: tuple[str, ...], _comments: list[list[str]]) -> Any:
        if not isinstance(value, Comment):
            found.append((path, kind_of(value), as_bytes(value)))
        return value

    walk(tree, visit)
    return iter(found)
