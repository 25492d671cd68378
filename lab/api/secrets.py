"""``Lab.secrets``: make, change and read a lab's secrets, and whether they are in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.config import Inventory, secret_uses
from lab.errors import LabError
from lab.masking import hide
from lab.model.outcome import Finding
from lab.secrets.changes import Changes, check_name
from lab.secrets.doctor import findings
from lab.secrets.editor import Editor
from lab.secrets.generate import HASHES, KINDS, Made, Recipe, make
from lab.secrets.notes import note_of
from lab.secrets.store import Store, text_of

__all__ = ["HASHES", "KINDS", "LabSecrets", "Recipe", "SecretInfo"]


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """What is known of a secret without its value.

    Attributes:
        hosts: Those that use it.
        used: Whether anything does; a provider's password is used by no host.
        file: The file it stands in, ``""`` where there is none yet.
        where: ``file:line:column``.
        public: It stands there in clear: the public half of a key.
        readers: The public keys it is encrypted for.
    """

    name: str
    hosts: tuple[str, ...]
    used: bool
    file: str = ""
    where: str = ""
    public: bool = False
    readers: tuple[str, ...] = ()


class LabSecrets:
    """The secrets of one loaded lab. Every change is written whole or not at all."""

    def __init__(self, inventory: Inventory) -> None:
        self._lab = inventory.name
        known = inventory.secrets
        self._store = known if isinstance(known, Store) else Store(inventory.root, inventory.name)
        self._inventory = inventory
        self._uses: Mapping[str, tuple[str, ...]] | None = None

    @property
    def uses(self) -> Mapping[str, tuple[str, ...]]:
        """Every secret that the lab names, and the hosts that use it."""
        if self._uses is None:
            self._uses = secret_uses(self._inventory)
        return self._uses

    def _changes(self) -> Changes:
        return Changes(self._store, self.uses)

    def begin(self) -> list[str]:
        """Bring ``secrets/`` in order: keys, readers, rules; what was done. Again: nothing."""
        with self._store.folder.held():
            return self._changes().begin()

    def all(self) -> list[SecretInfo]:
        """Every secret that is there or is used, by name."""
        entries = self._store.entries()
        return [
            SecretInfo(
                name,
                self.uses.get(name, ()),
                name in self.uses,
                entry.file.name if entry else "",
                entry.where if entry else "",
                public=bool(entry and entry.is_public),
                readers=entry.file.meta.recipients if entry else (),
            )
            for name in sorted({*entries, *self.uses})
            for entry in (entries.get(name),)
        ]

    def info(self, name: str) -> SecretInfo:
        """One of them. Raises LabError where there is none."""
        self._store.entry(name)
        return next(i for i in self.all() if i.name == name)

    def reveal(self, name: str) -> str:
        """The value; it is masked from now on in whatever this process writes. Raises LabError."""
        return self._store.reveal(name)

    def has(self, name: str) -> bool:
        """Whether there is one of that name."""
        return name in self._store.entries()

    def set(self, name: str, value: str, file: str | None = None) -> str:
        """Give a secret its value; the name of the file that was written. Raises LabError."""
        check_name(name)
        hide(value, name)
        with self._store.folder.held():
            return self._changes().put({name: value}, file)

    def generate(
        self, name: str, recipe: Recipe, password: str | None = None, file: str | None = None
    ) -> tuple[bool, str]:
        """Make a secret, once: whether it was made now, and its public half where it has one.

        ``password`` is what is hashed, where ``recipe.of`` names no secret. Raises LabError.
        """
        check_name(name)
        with self._store.folder.held():
            if self.has(name):
                return False, self._public(name)
            changes = self._changes()
            if recipe.of and not self.has(recipe.of):
                first = Recipe("password")
                changes.put({recipe.of: self._made(recipe.of, first).value}, None, first.note)
            made = self._made(name, recipe, password)
            return True, self._keep(changes, name, made, recipe, file)

    def _made(self, name: str, recipe: Recipe, password: str | None = None) -> Made:
        if recipe.kind == "password-hash":
            password = self.reveal(recipe.of) if recipe.of else password
            if password is None:
                raise LabError(
                    f"Unable to make {name}: which password is to be hashed was not given.",
                    hint=f"lab secrets generate {name} --kind password-hash --of SECRET",
                )
        made = make(recipe, f"{self._lab}-{name}", password or "")
        hide(made.value, name)
        return made

    def _keep(
        self, changes: Changes, name: str, made: Made, recipe: Recipe, file: str | None
    ) -> str:
        values = {name: made.value, **({f"{name}_public": made.public} if made.public else {})}
        changes.put(values, file, recipe.note)
        return made.public

    def _public(self, name: str) -> str:
        entry = self._store.entries().get(f"{name}_public")
        return text_of(entry.raw) if entry is not None and entry.is_public else ""

    def recipe(self, name: str) -> Recipe | None:
        """How a secret was made, ``None`` where a person gave it. Raises LabError."""
        entry = self._store.entry(name)
        return Recipe.read(note_of(self._store.opened(entry.file).tree, entry.path))

    def rotate(self, name: str, value: str | None = None) -> tuple[str, ...]:
        """Give a secret a new value under a new key: made as before, or ``value``.

        What is made of it (a hash) is made anew as well. Returns the hosts that use any of them:
        they are to be converged. Raises LabError.
        """
        with self._store.folder.held():
            return self._rotated(name, value, ())

    def _rotated(self, name: str, value: str | None, above: tuple[str, ...]) -> tuple[str, ...]:
        recipe = self.recipe(name)
        changes = self._changes()
        if value is not None and not (recipe and recipe.kind == "password-hash"):
            hide(value, name)
            made, note = Made(value), ""
        elif recipe is not None:
            made, note = self._made(name, recipe, value), recipe.note
        else:
            raise LabError(
                f"Unable to rotate {name}: it was not made here, so its new value is needed.",
                hint=f"lab secrets rotate {name}   (asks for it, or takes it from stdin)",
            )
        public = {f"{name}_public": made.public} if made.public else {}
        changes.put({name: made.value, **public}, None, note, anew=True)
        hosts = dict.fromkeys(self.uses.get(name, ()))
        for other in [n for n in self._store.entries() if n not in {name, *above}]:
            how = self.recipe(other)
            if how is not None and how.of == name:
                hosts |= dict.fromkeys(self._rotated(other, None, (*above, name)))
        return tuple(hosts)

    def encrypt_anew(self) -> list[str]:
        """Every file under a new key, for exactly those who are to read it; what was done."""
        with self._store.folder.held():
            changes = self._changes()
            done = changes.encrypt_anew(exact=True)
            return [*done, *(["wrote .sops.yaml"] if changes.readers.write_rules() else [])]

    def remove(self, name: str) -> None:
        """Take a secret away. Raises LabError where something still uses it."""
        users = self.uses.get(name)
        if users is not None:
            who = ", ".join(users) or "the lab itself"
            raise LabError(
                f"Unable to remove {name}: {who} uses it.", hint=f"grep -rn '!secret {name}' ."
            )
        with self._store.folder.held():
            self._changes().remove(name)

    def edit(self, file: str | None, again: Callable[[str], bool]) -> list[str]:
        """Let a person change a file, or all values at once, in an editor; what was written.

        ``again`` is told what is wrong with the text, and whether to go back to the editor.
        Raises LabError where the person gives up.
        """
        with self._store.folder.held():
            editor = Editor(self._store, self._changes(), again)
            return editor.everything() if file is None else editor.file(file)

    def host_key(self, host: str) -> str:
        """The private age key of a host, for a host that is rebuilt. Raises LabError."""
        with self._store.folder.held():
            return self._changes().readers.private(host)

    def findings(self) -> list[Finding]:
        """Whether everything is in order: each finding with the line that mends it."""
        return list(findings(self._store, self.uses, self._lab))
