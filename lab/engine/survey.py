"""What is on the hosts and in no file of the lab: asking, accepting, scoring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lab.engine.record import Seen
from lab.engine.walk import Item, Walk
from lab.layer import Above, Layer, Surveying
from lab.model.accepted import Acceptance
from lab.model.host import Host
from lab.model.outcome import ExitCode, Failure, Outcome, RunReport
from lab.model.undeclared import Known, Undeclared, ordered, score


@dataclass(frozen=True, slots=True)
class SurveyReport:
    """What came of it: the run as any other, and for each host that was looked at what is there.

    Attributes:
        unused: Entries of ``accepted.yaml`` that match nothing on any host they are about.
    """

    run: RunReport
    found: Mapping[str, tuple[Undeclared, ...]]
    unused: tuple[Acceptance, ...] = ()

    @property
    def verb(self) -> str:
        """The run's."""
        return self.run.verb

    @property
    def scores(self) -> dict[str, int]:
        """Each host that was looked at: 0 = nothing is on it that is not here."""
        return {host: score(things) for host, things in self.found.items()}

    @property
    def exit_code(self) -> ExitCode:
        """As of a plan: PENDING where something is undeclared and not accepted."""
        if self.run.exit_code is not ExitCode.OK:
            return self.run.exit_code
        return ExitCode.PENDING if any(self.scores.values()) else ExitCode.OK


@dataclass(slots=True)
class SurveyWalk(Walk):
    """One host, looked at as a whole. ``found`` is what is there undeclared."""

    found: tuple[Undeclared, ...] = ()
    looked: bool = field(default=False, init=False)

    def survey(self) -> None:
        """Ask every driver that can tell; of the layers that cannot, what they hand up."""
        layers = self.run.layers
        known = frozenset(
            thing
            for layer in layers
            for part in self.host.parts.get(layer.name, ())
            for thing in layer.known(self.host, part)
        )

        def look(layer: Layer, item: Item, seen: Seen) -> Above:
            self._ask(layer, item, seen, known)
            return Above.AS_IS

        for layer in layers:
            part = layer.surveyor(layer, self.host)
            # who has no part on a host is asked only where somebody looks at that host at all
            if part is not None and (self.host.parts.get(layer.name) or self.looked):
                self._guard(layer, Item(part), look)

    def _ask(self, layer: Layer, item: Item, seen: Seen, known: Known) -> None:
        driver: object = self.run.driver(layer, item.part.driver)
        target = self._target(layer, item)
        if isinstance(driver, Surveying):
            self.found += driver.survey(target, known)
            self.looked = True
            return
        plan, observed = self._look(layer, item, target)
        prediction = layer.predict(target, observed, plan)
        handed = prediction.outputs.model_dump()
        self.handed.update(handed)
        if "address" not in handed:
            return  # what is wrong below a machine that runs is no reason not to look at it
        if plan.blockers:
            seen.block(plan)
        elif prediction.above is not Above.AS_IS and handed.get("port") is None:
            seen.outcome = Outcome.BLOCKED
            what = f"{self.host.name} does not exist yet."
            seen.failure = Failure("Absent", what, f"lab converge host={self.host.name}")


def accepted(
    hosts: Iterable[Host],
    found: Mapping[str, tuple[Undeclared, ...]],
    entries: Sequence[Acceptance],
) -> tuple[dict[str, tuple[Undeclared, ...]], tuple[Acceptance, ...]]:
    """The same with the reasons of what is accepted; and the entries that accept nothing.

    An entry counts as unused only where every host that it is about was looked at.
    """
    used: set[int] = set()
    told: dict[str, tuple[Undeclared, ...]] = {}
    about: dict[int, set[str]] = {n: set() for n in range(len(entries))}
    for host in hosts:
        mine = [(n, e) for n, e in enumerate(entries) if e.is_about(host)]
        for number, _ in mine:
            about[number].add(host.name)
        if host.name not in found:
            continue
        things = []
        for thing in found[host.name]:
            matches = [(n, e) for n, e in mine if e.matches(thing)]
            used.update(n for n, _ in matches)
            things.append(replace(thing, accepted=matches[0][1].reason) if matches else thing)
        told[host.name] = ordered(things)
    unused = [
        entry
        for n, entry in enumerate(entries)
        if n not in used and about[n] and about[n] <= set(found)
    ]
    return told, tuple(unused)
