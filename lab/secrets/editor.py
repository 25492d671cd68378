"""A person changes a file of secrets, or all values at once, in an editor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab.errors import ConfigError, LabError
from lab.masking import hide
from lab.secrets import editing
from lab.secrets.changes import Changes
from lab.secrets.sops import document
from lab.secrets.sops.document import begun, emit, parse
from lab.secrets.sops.tree import Branch, Item, plain
from lab.secrets.store import Store, text_of


class Editor:
    """``again`` is told what is wrong with the text, and whether to go back to the editor."""

    def __init__(self, store: Store, changes: Changes, again: Callable[[str], bool]) -> None:
        self._store, self._changes, self._again = store, changes, again

    def file(self, file: str) -> list[str]:
        """One file as it is, with its comments; the names of what was written."""
        path = self._changes.path_of(file)
        name = self._store.folder.name(path)
        sealed = self._store.files().get(name)
        if sealed is not None:
            opened = self._store.opened(sealed)
            before = emit(opened.tree, path, name, sealed.indent)
        else:
            opened = begun(path, name)
            before = document.read_text(path, name) if path.exists() else ""
            if before and document.is_encrypted(before, path, name):
                document.read(path, name)  # something is wrong with it: that says what
        tree = self._edited(path, name, before)
        if not tree.items or (
            sealed is not None and emit(tree, path, name, sealed.indent) == before
        ):
            return []
        self._changes.replace(opened, tree)
        return [name]

    def everything(self) -> list[str]:
        """One text with every value, each of which goes back to where it stands."""
        names = [n for n, e in sorted(self._store.entries().items()) if not e.is_public]
        values = {n: self._store.reveal(n) for n in names}
        tree = Branch([Item(n, v) for n, v in values.items()])
        path = Path("secrets.yaml")
        before = emit(tree, path, path.name) if values else "# name: value\n"
        edited = plain(self._edited(path, path.name, before))
        gone = sorted(set(values) - set(edited))
        if gone:
            raise LabError(
                f"Unable to take {', '.join(gone)} away by leaving it out; nothing was changed.",
                hint=f"lab secrets remove {gone[0]}",
            )
        for name, value in edited.items():
            if isinstance(value, (dict, list)) or value is None:
                raise LabError(
                    f"Unable to keep {name}: a value is expected, in quotes if need be;"
                    " nothing was changed."
                )
        new = {n: text_of(v) for n, v in edited.items() if values.get(n) != text_of(v)}
        for name, value in new.items():
            hide(value, name)
        return [self._changes.put({name: value}) for name, value in new.items()]

    def _edited(self, path: Path, name: str, before: str) -> Branch:
        with editing.in_memory(path.name) as place:
            editing.put(place, before)
            while True:
                editing.open_editor(place)
                try:
                    return parse(document.read_text(place, name), path, name)
                except ConfigError as error:
                    if not self._again(error.message):
                        raise LabError(
                            "Unable to keep what was edited: the text is not right. Nothing was"
                            " changed.",
                            hint="the same command again",
                        ) from None
