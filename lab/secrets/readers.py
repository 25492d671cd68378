"""Who may read which file: the operators all of them, a host those whose every secret it uses.

A host's own key never opens a secret that the host does not use. Each host has a key of its own;
its private half is kept beside the secrets, encrypted for the operators alone, so that a rebuilt
host gets its identity back.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from lab.errors import LabError
from lab.secrets import age
from lab.secrets.folder import FOLDER, Folder, write
from lab.secrets.sops import document, sealing
from lab.secrets.sops.document import Opened
from lab.secrets.sops.metadata import PUBLIC, Wrapped
from lab.secrets.sops.tree import Branch, Item
from lab.secrets.store import Store

Uses = Mapping[str, Collection[str]]
"""Secret name to the hosts that use it."""
_HEAD = "# Public keys of the people who may read and change every secret, one a line.\n"
_MARK = "# Written by `lab secrets`, for upstream sops; changes here are lost.\n"


class Readers:
    """The recipients of files, worked out from who uses what."""

    def __init__(self, store: Store, uses: Uses) -> None:
        self._store, self._uses = store, uses
        self._folder: Folder = store.folder
        self._hosts: dict[str, str] = {}  # host -> public key, verified

    def operators(self) -> tuple[str, ...]:
        """Their public keys. Raises LabError where there are none, or one is no key."""
        try:
            text = self._folder.operators.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise LabError(
                f"Unable to encrypt: {FOLDER}/{self._folder.operators.name} is not there or cannot"
                " be read, so that nobody could decrypt it again.",
                hint="lab secrets init",
            ) from None
        keys = tuple(dict.fromkeys(operator_keys(text)))
        wrong = next((k for k in keys if not age.is_recipient(k)), None)
        if wrong is not None or not keys:
            raise LabError(
                f"Unable to encrypt: {FOLDER}/{self._folder.operators.name} "
                + (f"holds {wrong[:80]!r}, which is no public key." if wrong else "holds no key."),
                hint="a line holds one public key: age1…",
            )
        return keys

    def host(self, host: str) -> str:
        """A host's public key; made with its private half where there is none yet."""
        if host not in self._hosts:
            path = self._folder.host_file(host)
            self._hosts[host] = self._known(host) if path.exists() else self._made(host)
        return self._hosts[host]

    def _known(self, host: str) -> str:
        """Read with its MAC checked: whoever could swap the key could read what comes next."""
        path = self._folder.host_file(host)
        opened = self._store.opened(document.read(path, self._folder.name(path)))
        private, public = opened.tree.get("private"), opened.tree.get("public")
        keys = age.identities(str(private or ""), self._folder.name(path))
        if len(keys) != 1 or keys[0].recipient != public:
            raise LabError(
                f"Unable to use {self._folder.name(path)}: its two halves are not of one key.",
                hint=f"rm {self._folder.name(path)}, then: lab secrets rotate --keys",
            )
        return str(public)

    def _made(self, host: str) -> str:
        path = self._folder.host_file(host)
        pair = age.new_key()
        opened = document.begun(path, self._folder.name(path))
        tree = Branch([Item("public", pair.public), Item("private", pair.private)])
        wrapped = wrapped_for(opened.key, self.operators())
        write(path, sealing.lock(opened, tree, wrapped))
        return pair.public

    def private(self, host: str) -> str:
        """The private half of a host's key. Raises LabError."""
        self.host(host)
        path = self._folder.host_file(host)
        opened = self._store.opened(document.read(path, self._folder.name(path)))
        return str(opened.tree.get("private"))

    def hosts_of(self, names: Collection[str]) -> list[str]:
        """The hosts that use all of these secrets."""
        sets = [set(self._uses.get(n, ())) for n in names]
        return sorted(set.intersection(*sets)) if sets else []

    def wanted(self, names: Collection[str]) -> tuple[str, ...]:
        """The recipients of a file that holds these secrets."""
        hosts = (self.host(h) for h in self.hosts_of(names))
        return tuple(dict.fromkeys((*self.operators(), *hosts)))

    def known_hosts(self) -> dict[str, str]:
        """Public key to host, of every host that has a key; as the files say it."""
        found = {}
        for path in sorted((self._folder.path / "hosts").glob("*.yaml")):
            sealed = document.read(path, self._folder.name(path))
            found[str(sealed.tree.get("public"))] = path.stem
        return found

    def wrap(self, opened: Opened, names: Collection[str], *, exact: bool) -> tuple[Wrapped, ...]:
        """The data key for everyone who is to read the file, with a new one where somebody leaves.

        ``exact``: nobody else; otherwise people that only the file names keep reading it, and a
        host leaves only where it does not use everything in it.
        """
        wanted = self.wanted(names)
        present = opened.sealed.meta.recipients
        if not exact:
            hosts = self.known_hosts()
            wanted = (*wanted, *(r for r in present if r not in wanted and r not in hosts))
        if exact or any(r not in wanted for r in present):
            renew_key(opened)
        known = {} if opened.fresh else {w.recipient: w for w in opened.sealed.meta.age}
        new = wrapped_for(opened.key, [r for r in wanted if r not in known])
        return tuple(known.get(r) or next(w for w in new if w.recipient == r) for r in wanted)

    def rules(self) -> str:
        """``.sops.yaml``: the same recipients for upstream, file by file."""
        operators = ",".join(self.operators())
        by_name: dict[str, list[str]] = {}
        for name, entry in self._store.entries().items():
            if not entry.is_public:
                by_name.setdefault(entry.file.name, []).append(name)
        lines = [_MARK, "creation_rules:\n"]
        for file, names in sorted(by_name.items()):
            wanted = ",".join(self.wanted(names))
            if wanted != operators:
                lines += _rule(f"(^|/){re.escape(file)}$", wanted)
        lines += _rule(f"(^|/){FOLDER}/", operators)
        return "".join(lines)

    def write_rules(self) -> bool:
        """Bring ``.sops.yaml`` up to date; one that somebody else wrote is left alone."""
        path = self._folder.rules
        there = path.read_text(encoding="utf-8") if path.exists() else ""
        wanted = self.rules()
        if there == wanted or (there and not there.startswith(_MARK)):
            return False
        write(path, wanted)
        return True

    def write_operators(self, keys: Collection[str]) -> None:
        """Begin the list of operators."""
        write(self._folder.operators, _HEAD + "".join(f"{k}\n" for k in keys))


def _rule(regex: str, recipients: str) -> list[str]:
    return [
        f"  - path_regex: '{regex}'\n",
        f"    unencrypted_regex: '{PUBLIC}'\n",
        f"    age: {recipients}\n",
    ]


def operator_keys(text: str) -> list[str]:
    """The keys of the list: comments and what follows the key on its line are for people."""
    lines = (line.strip() for line in text.splitlines())
    keys = []
    for line in lines:
        if line and not line.startswith("#"):
            words = line.split()
            keys.append(" ".join(words[:2]) if words[0].startswith("ssh-") else words[0])
    return keys


def wrapped_for(key: bytes, recipients: Collection[str]) -> tuple[Wrapped, ...]:
    """A data key for each of them."""
    return tuple(Wrapped(r, age.wrap(key, r)) for r in recipients)


def renew_key(opened: Opened) -> None:
    """Take a new data key. Raises LabError where others than age keys hold the old one."""
    if opened.sealed.meta.others:
        kinds = ", ".join(opened.sealed.meta.others)
        raise LabError(
            f"Unable to give {opened.sealed.name} a new key: {kinds} keys may read it too, and"
            " only upstream knows how to encrypt for those.",
            hint=f"sops rotate -i {opened.sealed.name}",
        )
    opened.renew()
