"""How a secret was made, kept as a comment above it, which SOPS encrypts like the value."""

from __future__ import annotations

from typing import Any

from lab.secrets.sops.tree import Branch, Comment, Item

NOTE = "generated:"


def annotate(tree: Branch, path: tuple[str, ...], note: str) -> None:
    """Put the note right above the item, in place of the one that stood there; none: take it."""
    here: Any = tree
    for key in path[:-1]:
        here = here.get(key)
    index = next(i for i, e in enumerate(here.entries) if isinstance(e, Item) and e.key == path[-1])
    before = here.entries[index - 1] if index else None
    old = isinstance(before, Comment) and before.text.strip().startswith(NOTE)
    here.entries[index - old : index] = [Comment(f" {NOTE} {note}")] if note else []


def note_of(tree: Branch, path: tuple[str, ...]) -> str:
    """What a comment above an item says of how it was made, ``""`` where none does."""
    here: Any = tree
    for key in path[:-1]:
        here = here.get(key)
    before: Any = None
    for entry in here.entries:
        if isinstance(entry, Item) and entry.key == path[-1]:
            text = before.text.strip() if isinstance(before, Comment) else ""
            return text.removeprefix(NOTE).strip() if text.startswith(NOTE) else ""
        before = entry
    return ""
