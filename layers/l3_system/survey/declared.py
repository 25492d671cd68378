"""What the lab says of a machine, as the judging of its facts wants it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape

from lab.model.baseline import Baseline
from lab.model.undeclared import Known, Sort
from layers.l3_system.kinds.kind import Wanted
from layers.l3_system.spec import Spec, unit_name
from layers.l3_system.survey import ordinary
from layers.l3_system.survey.facts import Facts


def like(name: str, patterns: Iterable[str]) -> bool:
    """Whether any of the patterns fits."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(frozen=True)
class Lab:
    """What the lab says of the machine.

    Attributes:
        spec: What is declared for the system, recipes expanded.
        wanted: The same by kind and name.
        known: What other layers account for.
        login: The user that we log in as, and the keys that let us in.
    """

    spec: Spec
    wanted: Mapping[str, Mapping[str, Wanted]]
    known: Known = frozenset()
    baseline: Baseline | None = None
    login: str = ""
    keys: frozenset[str] = frozenset()

    @property
    def image(self) -> Baseline:
        """What the image holds; an empty one where nothing is known of it."""
        whole = self.baseline is not None and self.baseline.complete
        return self.baseline if self.baseline is not None and whole else Baseline()

    @property
    def services(self) -> frozenset[str]:
        """The declared services, by the names of their units."""
        return frozenset(unit_name(name) for name in self.spec.services)

    def declares(self, kind: str, name: str, facts: Facts) -> bool:
        """Declared, or on record as ours (and then it is the plan that has to tell of it)."""
        return name in self.wanted.get(kind, ()) or f"{kind} {name}" in facts.owned

    def knows(self, sort: Sort, name: str) -> bool:
        """Whether another layer accounts for it."""
        return any(s is sort and fnmatchcase(name, pattern) for s, pattern in self.known)

    def paths(self, facts: Facts) -> tuple[str, ...]:
        """Patterns of every path that is declared or on record as ours, as itself or in a kind."""
        declared = {(kind, name) for kind, things in self.wanted.items() for name in things}
        ours = (thing.partition(" ") for thing in facts.owned)
        declared |= {(kind, name) for kind, _, name in ours}
        own = [escape(name) for _, name in declared if name.startswith("/")]
        for kind, name in declared:
            own += [pattern.format(escape(name)) for pattern in ordinary.OURS.get(kind, ())]
        return tuple(own)
