"""What is on the hosts and in no file of the lab: asking, accepting, scoring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lab.abilities import Described, Describing, Surveying
from lab.engine.record import Seen
from lab.engine.walk import Item, Walk
from lab.layer import Above, Layer, Target
from lab.model.accepted import Acceptance
from lab.model.host import Host
from lab.model.outcome import ExitCode, RunReport
from lab.model.undeclared import Known, Undeclared, ordered, score


@dataclass(frozen=True, slots=True)
class SurveyReport:
    """What came of it: the run as any other, and for each host that was looked at what is there.

    Attributes:
        absent: Hosts that do not exist yet.
        unused: Entries of ``accepted.yaml`` that match nothing on any host they are about.
    """

    run: RunReport
    found: Mapping[str, tuple[Undeclared, ...]]
    absent: tuple[str, ...] = ()
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
    """One host, looked at as a whole.

    ``found`` is what is there undeclared; with ``absent`` there is no machine to look at yet.
    """

    found: tuple[Undeclared, ...] = ()
    described: tuple[Described, ...] = ()
    looked: bool = field(default=False, init=False)
    absent: bool = field(default=False, init=False)

    def survey(self) -> None:
        """Ask every driver that can tell; of the layers that cannot, what they hand up."""

        def ask(driver: object, target: Target[Any, Any], known: Known) -> bool:
            if not isinstance(driver, Surveying):
                return False
            self.found += driver.survey(target, known)
            return True

        self._each(ask)

    def describe(self) -> None:
        """Let every driver that can write down what the machine is like."""

        def ask(driver: object, target: Target[Any, Any], known: Known) -> bool:
            if not isinstance(driver, Describing):
                return False
            self.described += (driver.describe(target, known),)
            return True

        self._each(ask)

    def _each(self, ask: Callable[[object, Target[Any, Any], Known], bool]) -> None:
        layers = self.run.layers
        known = frozenset(
            thing
            for layer in layers
            for part in self.host.parts.get(layer.name, ())
            for thing in layer.known(self.host, part)
        )

        def step(layer: Layer, item: Item, seen: Seen) -> Above:
            driver = self.run.driver(layer, item.part.driver)
            target = self._target(layer, item)
            if ask(driver, target, known):
                self.looked = True
            else:
                self._pass(layer, item, target, seen)
            return Above.AS_IS

        for layer in layers:
            part = layer.surveyor(layer, self.host)
            # who has no part on a host is asked only where somebody looks at that host at all
            mine = self.host.parts.get(layer.name) or self.looked
            if part is not None and mine and not self.absent:
                self._guard(layer, Item(part), step)

    def _pass(self, layer: Layer, item: Item, target: Target[Any, Any], seen: Seen) -> None:
        """Take along what a layer hands up to those above it."""
        plan, observed = self._look(layer, item, target)
        prediction = layer.predict(target, observed, plan)
        handed = prediction.outputs.model_dump()
        self.handed.update(handed)
        if "address" not in handed:
            return  # what is wrong below a machine that runs is no reason not to look at it
        if plan.blockers:
            seen.block(plan)
        else:
            self.absent = prediction.above is not Above.AS_IS and handed.get("port") is None


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
