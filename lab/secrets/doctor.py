"""Whether the secrets are in order: every finding with the line that mends it."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

from lab.errors import LabError
from lab.masking import SHORT
from lab.model.outcome import Finding, Level
from lab.secrets import age, editing
from lab.secrets.folder import FOLDER, OPERATORS
from lab.secrets.generate import Recipe
from lab.secrets.identities import own_file, standard_file
from lab.secrets.notes import note_of
from lab.secrets.readers import Readers, Uses
from lab.secrets.sops.document import Sealed
from lab.secrets.store import Store

_INIT = "lab secrets init"
_ANEW = "lab secrets rotate --keys"
_MAX_LOOKED = 1024 * 1024


def findings(store: Store, uses: Uses, lab: str) -> Iterator[Finding]:
    """Look at keys, files and readers; change nothing."""
    if not store.folder.path.is_dir():
        what = f"{', '.join(sorted(uses)[:3])} is used" if uses else "none yet"
        level = Level.FAIL if uses else Level.PASS
        yield Finding(level, FOLDER, what, _INIT)
        return
    keys: list[age.Identity] = []
    try:
        keys = store.keyring.all()
    except LabError as error:
        yield Finding(Level.FAIL, "your key", error.message, error.hint)
    yield from _key_files(lab)
    for problem in store.faults():
        yield Finding(Level.FAIL, problem.where, problem.what, f"git log -p {_file(problem.where)}")
    try:
        yield from _files(store, Readers(store, uses), keys)
    except LabError as error:
        yield Finding(Level.FAIL, "readers", error.message, error.hint)
    yield from _names(store, uses)
    yield from _in_git(store)
    yield _memory()


def _file(where: str) -> str:
    return where.partition(":")[0]


def _key_files(lab: str) -> Iterator[Finding]:
    for path in (own_file(lab), standard_file()):
        if not path.exists():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield Finding(
                Level.FAIL,
                "your key",
                f"{path} is open to others ({mode:04o})",
                f"chmod 600 {path}",
            )
        else:
            yield Finding(Level.PASS, "your key", str(path))


def _files(store: Store, readers: Readers, keys: list[age.Identity]) -> Iterator[Finding]:
    """Whether each file opens, and is for those who are to read it and nobody else."""
    operators = set(readers.operators())
    mine = {k.recipient for k in keys}
    if not mine & operators:
        hint = f"add your public key to {FOLDER}/{OPERATORS}, then have an operator run: {_ANEW}"
        yield Finding(Level.FAIL, "your key", "it is not among the operators", hint)
    good = 0
    by_file: dict[str, list[str]] = {}
    for name, entry in store.entries().items():
        by_file.setdefault(entry.file.name, []).extend([] if entry.is_public else [name])
    for name, sealed in store.files().items():
        try:
            store.opened(sealed)
        except LabError as error:
            yield Finding(Level.FAIL, name, error.message, error.hint)
            continue
        wrong = list(_readers_of(sealed, by_file.get(name, []), readers))
        yield from wrong
        good += not wrong
    if good:
        yield Finding(Level.PASS, "files", f"{good} open, for exactly those who are to read them")
    rules = store.folder.rules
    text = rules.read_text(encoding="utf-8", errors="replace") if rules.exists() else ""
    if text != readers.rules():
        own = not text or text.startswith("# Written by `lab secrets`")
        level, hint = (Level.WARN, _INIT) if own else (Level.PASS, "")
        what = "it is not up to date" if own else "it is your own, and left alone"
        yield Finding(level, ".sops.yaml", what, hint)


def _readers_of(sealed: Sealed, names: Collection[str], readers: Readers) -> Iterator[Finding]:
    hosts = readers.known_hosts()
    users = readers.hosts_of(names)
    without = [h for h in users if h not in hosts.values()]
    if without:
        what = f"{', '.join(without)} uses it and has no key yet"
        yield Finding(Level.WARN, sealed.name, what, _INIT)
    wanted = {*readers.operators(), *(k for k, h in hosts.items() if h in users)}
    present = set(sealed.meta.recipients)
    if wanted - present:
        who = ", ".join(hosts.get(r, r[:24]) for r in sorted(wanted - present))
        yield Finding(Level.WARN, sealed.name, f"{who} is to read it and cannot", _INIT)
    if present - wanted:
        who = ", ".join(hosts.get(r, r[:24]) for r in sorted(present - wanted))
        what = f"{who} can read it and does not use it (or is no operator)"
        yield Finding(Level.FAIL, sealed.name, what, _ANEW)
    if sealed.meta.others:
        kinds = ", ".join(sealed.meta.others)
        yield Finding(Level.WARN, sealed.name, f"{kinds} keys may read it as well", "sops rotate")


def _names(store: Store, uses: Uses) -> Iterator[Finding]:
    known = store.entries()
    sources = set(_sources(store))
    for name in sorted(set(uses) - set(known)):
        yield Finding(Level.FAIL, name, "it is used, and there is none", f"lab secrets set {name}")
    for name, entry in sorted(known.items()):
        if entry.is_public and entry.raw and not name.endswith("public"):
            hint = f"lab secrets edit {entry.file.name}, under a name that is encrypted"
            yield Finding(Level.WARN, name, f"it stands in clear in {entry.file.name}", hint)
        elif not entry.is_public and _length(store, name) in range(1, SHORT):
            what = f"its value has fewer than {SHORT} characters, too few to be hidden everywhere"
            yield Finding(Level.WARN, name, what, f"lab secrets rotate {name}")
        if name not in uses and name not in sources and not entry.is_public:
            hint = f"use it as !secret {name}, or: lab secrets remove {name}"
            yield Finding(Level.WARN, name, "no host and no provider uses it", hint)


def _sources(store: Store) -> Iterator[str]:
    """Secrets that others were made of: passwords that were hashed."""
    for entry in store.entries().values():
        try:
            recipe = Recipe.read(note_of(store.opened(entry.file).tree, entry.path))
        except LabError:
            continue
        if recipe is not None and recipe.of:
            yield recipe.of


def _length(store: Store, name: str) -> int:
    try:
        return len(store.reveal(name))
    except LabError:
        return 0


def _in_git(store: Store) -> Iterator[Finding]:
    """Private keys that lie in the lab's folder in clear."""
    listed = _tracked(store.folder.root)
    for path in listed:
        try:
            if path.stat().st_size > _MAX_LOOKED:
                continue
            text = path.read_text(encoding="utf-8", errors="ignore")
        except OSError:
            continue
        if "AGE-SECRET-KEY-1" in text.upper() and age.private_keys(text):
            name = path.relative_to(store.folder.root)
            hint = f"git rm --cached {name}, then a new key: everybody with the repository has it"
            yield Finding(Level.FAIL, str(name), "a private age key stands there in clear", hint)


def _tracked(root: Path) -> list[Path]:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z", "-c", "-o", "--exclude-standard"],
            capture_output=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    names = done.stdout.split(b"\0") if done.returncode == 0 else []
    return [root / name.decode(errors="surrogateescape") for name in names if name]


def _memory() -> Finding:
    folder = Path("/dev/shm")  # noqa: S108 (only looked at)
    if editing.is_in_memory(folder):
        return Finding(Level.PASS, "memory", f"{folder} is tmpfs: editing leaves nothing on a disk")
    what = "no folder in memory (tmpfs): lab secrets edit will refuse"
    return Finding(Level.WARN, "memory", what, "mount -t tmpfs tmpfs /dev/shm")
