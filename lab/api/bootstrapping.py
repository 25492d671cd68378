"""A lab on a new machine, out of git, key and captures alone; and the list of what must survive."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lab.api.facade import Lab
from lab.clients.process import run
from lab.config import lab_name
from lab.errors import LabError, PlanError
from lab.recovery.bringing import bring_back, cleared
from lab.recovery.repository import Capture, Repository, repository_of
from lab.secrets.identities import own_file, standard_file

_GIT = ("git", "-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never")
_LONG = 1800.0


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """A lab that is known here again.

    Attributes:
        root: Its checkout.
        capture: The lab's own capture that was brought back.
        captures: How many captures of its hosts the repository holds.
        elsewhere: The address in ``lab.yaml``, where the captures came from another one.
    """

    name: str
    root: Path
    capture: Capture
    captures: int
    elsewhere: str = ""


def bootstrap(source: str, key: Path, captures: str, folder: Path) -> Bootstrapped:
    """Clone the lab, keep its key, bring back its journal and SSH keys. Raises LabError.

    ``captures`` is the repository's address, ``""``: what ``lab.yaml`` says. What is there already
    is never overwritten.
    """
    text = _key_text(key)
    made = not folder.exists()
    if not made and any(folder.iterdir()):
        raise PlanError(
            f"Unable to bootstrap into {folder}: it is not empty.",
            hint="another folder: lab bootstrap … --into FOLDER",
        )
    run([*_GIT, "clone", "--", source, folder], doing=f"clone {source}", deadline=_LONG)
    try:
        name = lab_name(folder)
        _keep_key(name, text)
        with Lab.load(folder) as lab:
            repository, elsewhere = _opened(lab, captures)
            capture = bring_back(repository, lab.workspace)
        with Lab.load(folder) as lab:
            found = repository.listing()
            if not elsewhere:
                found = lab.captures.listing()
    except LabError:
        if made:
            cleared(folder)
        raise
    return Bootstrapped(name, folder, capture, len(found.captures), elsewhere)


def _opened(lab: Lab, captures: str) -> tuple[Repository, str]:
    inventory = lab.inventory
    entry = inventory.capture
    own = repository_of(lab.name, entry, lab.workspace)
    if not captures or entry is None:
        return own, ""
    said = entry.repository.model_copy(update={"url": captures})
    other = repository_of(lab.name, entry.model_copy(update={"repository": said}), lab.workspace)
    same = other.restic.access.url == own.restic.access.url
    return other, "" if same else own.shown


def _key_text(key: Path) -> str:
    try:
        text = key.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"Unable to read the key {key}: {error}.") from error
    if "AGE-SECRET-KEY-" not in text and "PRIVATE KEY" not in text:
        raise LabError(
            f"Unable to use the key {key}: it is no age key.",
            hint="the file that lab seed names: it holds a line AGE-SECRET-KEY-1…",
        )
    return text


def _keep_key(name: str, text: str) -> None:
    """Where this lab's keys are looked for; one that is there stays."""
    place = own_file(name)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if place.exists() and place.read_text(encoding="utf-8") != text:
        raise PlanError(
            f"Unable to keep the key: {place} holds another one.",
            hint=f"mv {place} {place}.old",
        )
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


@dataclass(frozen=True, slots=True)
class Seed:
    """One thing that must survive the loss of this machine: what, where it is, why."""

    what: str
    where: str
    why: str


def seeds(lab: Lab) -> tuple[Seed, ...]:
    """What a new machine needs, nothing of it a secret itself. Raises ConfigError."""
    remotes = run(
        [*_GIT, "-C", lab.root, "remote", "-v"], doing="ask git", check=False
    ).stdout.decode(errors="replace")
    places = sorted({line.split()[1] for line in remotes.splitlines() if line.strip()})
    keys = [str(p) for p in _key_files(lab.name) if p.exists()]
    repository = repository_of(lab.name, lab.inventory.capture, lab.workspace)
    near = repository.restic.access.folder is not None
    return (
        Seed(
            "the git repository",
            ", ".join(places) or f"{lab.root} only: no remote is set",
            "what every host is to be, and the secrets, encrypted",
        ),
        Seed(
            "an age key",
            ", ".join(keys) or "SOPS_AGE_KEY or another source of this shell",
            "opens the secrets, with them the captures; keep a copy on paper or in a safe",
        ),
        Seed(
            "the captures",
            repository.shown,
            "all data, identities, the journal and its ledger"
            + ("; they lie on this machine: keep a copy of that folder elsewhere" if near else ""),
        ),
    )


def _key_files(name: str) -> tuple[Path, ...]:
    named = os.environ.get("SOPS_AGE_KEY_FILE")
    return (own_file(name), standard_file(), *((Path(named),) if named else ()))


__all__ = ["Bootstrapped", "Seed", "bootstrap", "seeds"]
