"""What a driver may be able to do besides: abilities, each a Protocol that its methods fulfil.

A driver that has none is whole (:class:`lab.layer.Driver`); whoever needs an ability asks for it
with ``isinstance``, and says in plain words what follows where a driver has it not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lab.layer import Report, Target
from lab.model.applied import Applied
from lab.model.plan import Change
from lab.model.undeclared import Known, Undeclared

if TYPE_CHECKING:
    from lab.model.template import (
        Archive,
        Archived,
        ArchivedCandidate,
        ArchiveState,
        BootDisk,
        Candidate,
        Template,
    )


@runtime_checkable
class Batching(Protocol):
    """A driver that carries out a whole plan in fewer steps than one a change (optional)."""

    def apply_batch(
        self,
        target: Target[Any, Any],
        changes: Sequence[Change],
        started: Callable[[Change], None],
        done: Callable[[Change], None],
    ) -> None:
        """Carry out all changes in order, telling of each when it starts and when it is done."""
        ...


@runtime_checkable
class Prunable(Protocol):
    """A driver whose things are shared by hosts and outlive them (templates) (optional)."""

    def unused(
        self, keep: frozenset[str], leaving: frozenset[str] = frozenset()
    ) -> tuple[Change, ...]:
        """DELETE changes for our own things that nothing uses and ``keep`` does not name.

        MUST be read-only. ``keep`` holds what :attr:`Layer.shared` says of every declared host;
        use by a host in ``leaving`` does not count: it is about to move to something else.
        """
        ...

    def prune(self, change: Change) -> None:
        """Carry out one of those; a thing that got a user meanwhile is kept, without an error."""
        ...


@runtime_checkable
class Surveying(Protocol):
    """A driver that can tell what is on a machine besides what is declared (optional)."""

    def survey(self, target: Target[Any, Any], known: Known) -> tuple[Undeclared, ...]:
        """What is there and in no file of the lab.

        MUST be read-only, MUST end within a deadline of its own, in one or two round trips.
        ``target`` is the layer's :attr:`Layer.surveyor`; ``known`` is what the parts of all layers
        account for.
        """
        ...


@dataclass(frozen=True)
class Described:
    """A machine in the words of a persona.

    Attributes:
        sections: As they would stand in its YAML: plain values.
        files: Those that the sections name: path below the persona's own folder, and content.
        left: What is on the machine and not in it, each with the reason.
    """

    sections: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    left: tuple[tuple[str, str], ...] = ()


@runtime_checkable
class Describing(Protocol):
    """A driver that can write down what a machine is like, as a persona would (optional)."""

    def describe(self, target: Target[Any, Any], known: Known) -> Described:
        """What has to be declared so that the plan for this very machine is empty.

        MUST be read-only; no secret may be in it. Arguments as of :meth:`Surveying.survey`.
        """
        ...


@runtime_checkable
class Quiescing(Protocol):
    """A driver whose things use data, and can let go of it for a while (optional)."""

    def quiesce(self, target: Target[Any, Any]) -> None:
        """Stop using it; what is there stays, and the next plan wants it running again.

        MUST be safe to repeat, and no mistake where nothing runs.
        """
        ...


@runtime_checkable
class Shelving(Protocol):
    """A driver that can tell which templates it keeps (optional)."""

    def templates(self) -> tuple[Template, ...]:
        """Every one of this lab. MUST be read-only."""
        ...

    def spare(self, keep: frozenset[str]) -> tuple[Change, ...]:
        """DELETE changes for what nothing uses, and :meth:`Prunable.unused` leaves alone."""
        ...


@runtime_checkable
class Admitting(Protocol):
    """A driver that can make a template of a machine's boot disk (optional)."""

    def admit(self, candidate: Candidate, report: Report) -> None:
        """Take away what makes a machine itself, and keep the rest as a template.

        MUST be safe to repeat; a template of that name that is there is left alone.
        """
        ...


@runtime_checkable
class AdmittingArchives(Protocol):
    """A driver that can make a template of an archived boot disk (optional)."""

    def admit_archive(
        self, target: Target[Any, Any], candidate: ArchivedCandidate, report: Report
    ) -> None:
        """As :meth:`Admitting.admit`. ``target`` is the part of the host that it was taken from."""
        ...


@runtime_checkable
class Imaging(Protocol):
    """A driver whose machines have a boot disk that can be copied (optional)."""

    def boot_disk(
        self, target: Target[Any, Any], *, live: bool
    ) -> AbstractContextManager[BootDisk]:
        """A copy, gone afterwards. ``live``: the machine runs on, and its disk is as after a crash.

        Otherwise it is shut down in order and MUST run again afterwards, whatever happens; where
        that was cut off, the next call ends it. One that does not run is not started.
        """
        ...


@runtime_checkable
class Archiving(Protocol):
    """A driver whose machines' boot disks are copied to where their provider keeps copies.

    An archive carries a note that says which lab, host and capture it is. What carries none is
    somebody else's, and MUST be left alone.
    """

    def archive(
        self, target: Target[Any, Any], name: str, known: frozenset[str], *, live: bool
    ) -> AbstractContextManager[Archived]:
        """A new archive, ``name`` its ``id``; one that was cut off is gone on with instead.

        ``known`` are those that are captures already. The caller makes a capture of it inside the
        block, and MUST call it by the archive's own ``id``. The rest as of
        :meth:`Imaging.boot_disk`.
        """
        ...

    def inspect(self, target: Target[Any, Any], archive: Archive) -> ArchiveState:
        """What is there of it. MUST be read-only."""
        ...

    def retire(self, target: Target[Any, Any], archives: Sequence[Archive]) -> None:
        """Say on them that they may go: from then on :meth:`sweep` takes them. Gone is fine."""
        ...

    def sweep(
        self, target: Target[Any, Any], known: frozenset[str], also: Sequence[Archive] = ()
    ) -> tuple[str, ...]:
        """Remove this host's retired archives that are not ``known``; answers their names.

        It looks where the host's archives go now, and where those in ``also`` lie.

        One that was not retired stays, whoever knows it: its capture may be somewhere else.
        """
        ...


@runtime_checkable
class Remembering(Protocol):
    """A driver that keeps on the host itself which commit it was brought to (optional)."""

    def remembers(self, observed: Any) -> str | None:
        """The commit that stands there already, seen while observing; ``None`` = nothing does."""
        ...

    def remember(self, target: Target[Any, Any], applied: Applied) -> None:
        """Write it there, whole or not at all."""
        ...
