"""What a family of package managers must be able to do: the seam to apt, and to others like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from layers.l3_system.kinds.kind import Section
from layers.l3_system.spec import Thing


@dataclass(frozen=True, slots=True)
class Work:
    """Everything that comes and goes on one host, to be done in one transaction.

    Attributes:
        come: Package to the version it must have (``*`` and ``?`` as in a shell), ``""`` = any.
        go: Packages that must not be there.
        fade: Packages of ours that nobody declares: they go unless something else needs them.
        purge: Of those that go: without their configuration.
        hold: Packages to be kept at their version from then on.
        unhold: Packages not to be kept any more.
        repair: First finish what was interrupted, whoever began it.
    """

    come: Mapping[str, str]
    go: Sequence[str] = ()
    fade: Sequence[str] = ()
    purge: Sequence[str] = ()
    hold: Sequence[str] = ()
    unhold: Sequence[str] = ()
    repair: bool = False

    @property
    def anything(self) -> bool:
        """Whether there is anything to do."""
        names = (self.come, self.go, self.fade, self.purge, self.hold, self.unhold)
        return self.repair or any(names)


class Family(Protocol):
    """A module of this package. Whatever it needs to know stands in it and nowhere else."""

    @property
    def READY(self) -> str:  # noqa: N802 (a module's constant)
        """Shell that prints which program has the packages locked, and nothing if none has."""

    def probe(self, asked: Mapping[str, str]) -> str:
        """Shell that marks what it finds of the packages ``$@``; nothing where there is none.

        ``asked`` are those whose version on offer is told if they lack it, as in ``Work.come``.
        A host of another family is marked ``package unknown``.
        """

    def parse(self, sections: Sequence[Section]) -> dict[str, Thing]:
        """Packages by the names they were asked by.

        Facts: ``version``, ``hold``. State: ``installed``, ``removed`` (its configuration is
        still there), or a half-way one in words. The thing ``database`` is the host's own record
        of its packages: state ``whole``, or what was interrupted; fact ``offers``: package to the
        versions that can be had, best first. The thing ``""`` is a host of another family.
        """

    def carry_out(self, work: Work) -> str:
        """Shell that does all of it or, where a name or version is unknown, nothing.

        It MUST remove nothing that is not in ``go`` or ``fade``, and wait for locks.
        """
