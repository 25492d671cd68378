"""What all kinds share: the shape of a kind, and comparing attribute by attribute."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from lab.model.plan import Action, Blocker, Change, FieldDiff
from layers.l3_system.spec import Observed, Spec, Thing
from layers.l3_system.spec.types import UNIT_FOLDER


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of the host while its wanted things are worked out."""

    name: str
    persona: str = ""
    address: str | None = None
    tags: frozenset[str] = frozenset()
    vars: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One declared thing: the attributes to be compared, and what carrying it out needs besides.

    Attributes:
        content: A file's bytes, or the lines of a user's keys.
        secret: The content must not be shown.
        check: A command that a file must pass before it takes its place; ``%s`` is the file.
        watched: Files whose change restarts a service.
        reloaded: Files whose change only reloads it.
        edits: Lines and blocks of a file.
        size: The bytes that a disk is declared with; 0 where nothing is.
        found: The thing just before it is changed, for kinds that look again.
        absent: It is declared not to be there.
        more: What only its own kind knows how to use.
    """

    fields: Mapping[str, Any]
    content: bytes = b""
    secret: bool = False
    check: str = ""
    watched: tuple[str, ...] = ()
    reloaded: tuple[str, ...] = ()
    edits: tuple[Any, ...] = ()
    size: int = 0
    found: Thing | None = None
    absent: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the answer to a probe: the words after the kind's name, and the bytes."""

    words: tuple[str, ...]
    body: bytes

    @property
    def lines(self) -> list[str]:
        """The bytes as lines of text."""
        return self.body.decode(errors="replace").splitlines()


@dataclass(frozen=True, slots=True)
class View:
    """Everything a comparison may look at: what is wanted, what was found, what changes already."""

    wanted: Mapping[str, Mapping[str, Wanted]]
    observed: Observed
    changing: set[str] = field(default_factory=set)

    def found(self, kind: str, name: str) -> Thing | None:
        """The thing as it was found, or ``None``."""
        return self.observed.things.get(kind, {}).get(name)


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of shell that carries out some changes, and what it reads.

    ``ready`` is shell that prints who is in the way (a lock's holder), and nothing when the step
    may go. ``makes`` names things that it makes, and where: the ledger has them before the first
    step starts, unless something is at that path already (``""``: whatever is there).
    """

    changes: tuple[Change, ...]
    script: str
    stdin: bytes = b""
    deadline: float = 120.0
    ready: str = ""
    makes: tuple[tuple[str, str], ...] = ()


class Kind(Protocol):
    """A module of this package. Names are those of the things: a path, a user, a unit."""

    @property
    def NAME(self) -> str:  # noqa: N802 (a module's constant)
        """In ``what`` and in the ledger."""

    def wanted(self, spec: Spec, place: Place) -> dict[str, Wanted]:
        """What is declared."""

    def probe(self, wanted: Mapping[str, Wanted]) -> str:
        """Shell that looks at the operands ``$@`` (declared and owned names), spawning little."""

    def parse(self, sections: Sequence[Section]) -> dict[str, Thing]:
        """What the probe found; things that are not there are left out."""

    def compare(self, name: str, view: View) -> Change | Blocker | None:
        """What has to be done about a declared thing."""

    def prune(self, name: str, view: View) -> Change:
        """How a thing of ours that is no longer declared goes."""

    def steps(self, changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
        """How to carry the changes out, in order; what is not wanted goes."""


@runtime_checkable
class LooksAgain(Kind, Protocol):
    """A kind whose changes start from what is there at that moment: ``Wanted.found``."""

    @property
    def LOOKS_AGAIN(self) -> bool:  # noqa: N802 (a module's constant)
        """True."""


def name_of(change: Change) -> str:
    """``"/etc/motd"`` of ``"file /etc/motd"``."""
    return change.what.split(" ", 1)[1]


_RELOAD = "\n[ ! -d /run/systemd/system ] || systemctl daemon-reload"


def with_reload(steps: list[Step]) -> list[Step]:
    """The steps; after the last one that touches a unit file, systemd reads them all again."""
    touched = [i for i, s in enumerate(steps) if name_of(s.changes[0]).startswith(UNIT_FOLDER)]
    if touched:
        last = steps[touched[-1]]
        steps[touched[-1]] = replace(last, script=last.script + _RELOAD)
    return steps


def quote(*words: str) -> str:
    """Words for the shell."""
    return shlex.join(words)


def operands(kind: str, names: Iterable[str]) -> str:
    """Shell that makes ``$@`` the names that only the ledger holds, then the declared ones."""
    added = f'besides "$own_{kind}" "$@"; set -- $x "$@"'
    return f'set -f; IFS="$nl"; set -- {quote(*names)}; {added}; unset IFS; set +f'


def created(kind: str, name: str, wanted: Wanted, **more: Any) -> Change:
    """The CREATE of a thing that is not there."""
    fields = tuple(FieldDiff(f, None, v) for f, v in wanted.fields.items())
    return Change(Action.CREATE, f"{kind} {name}", fields, **more)


def updated(kind: str, name: str, wanted: Wanted, found: Thing) -> Change | None:
    """The UPDATE of a thing, ``None`` where every wanted attribute is as wanted."""
    fields = tuple(
        FieldDiff(f, found.fields.get(f), v)
        for f, v in wanted.fields.items()
        if found.fields.get(f) != v
    )
    return Change(Action.UPDATE, f"{kind} {name}", fields) if fields else None


def compared(kind: str, name: str, view: View) -> Change | None:
    """The plain case: create what is not there, update what differs."""
    wanted, found = view.wanted[kind][name], view.found(kind, name)
    if found is None:
        return created(kind, name, wanted)
    return updated(kind, name, wanted, found)


def pruned(kind: str, name: str, view: View, reason: str = "") -> Change:
    """The DELETE of a thing of ours that is no longer declared."""
    found = view.found(kind, name)
    if found is None:
        return Change(
            Action.DELETE, f"{kind} {name}", reason="no longer declared, and gone: only forgotten"
        )
    fields = tuple(FieldDiff(f, v, None) for f, v in found.fields.items())
    return Change(
        Action.DELETE,
        f"{kind} {name}",
        fields,
        reason=f"no longer declared{'; ' if reason else ''}{reason}",
    )


def is_found(kind: str, name: str, view: View) -> bool:
    """Whether the thing was there before us, so that it is put back rather than removed."""
    return view.observed.owned.get(f"{kind} {name}", "").startswith("found")
