"""``lab.images``: the templates of a lab: which there are, who is behind, promote, prune."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field

from lab import events
from lab.abilities import Shelving
from lab.api import promotions
from lab.config import Inventory
from lab.engine import Approval, Engine
from lab.engine.unused import see_places
from lab.errors import ConfigError, DriverError, LabError, PlanError, Problem
from lab.journal import locked
from lab.layer import Layer, Target
from lab.model.baseline import Baseline
from lab.model.host import Host
from lab.model.outcome import RunReport
from lab.model.plan import JSON, FieldDiff
from lab.model.template import Template
from layers.l1_image.spec import Spec

Running = Callable[..., AbstractContextManager[events.Listener]]
_LOCK = "_promoted"  # no host can be called so


@dataclass(frozen=True, slots=True)
class Listed:
    """A template that is there.

    Attributes:
        promoted: Personas whose new machines get it because it was promoted.
        wanted: Hosts that would be made from it now.
    """

    template: Template
    promoted: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PackageDiff:
    """A package in two templates; ``None``: it is not in that one."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class HostImage:
    """What one host was made from, and what it would be made from now.

    Attributes:
        lies_on: ``None``: no template that is here has it as its user.
        wanted: The template that it would be made from.
        promoted: ``wanted`` was promoted; otherwise it follows from the definition.
        own: What the definition comes to.
        built: ``wanted`` is there.
        captured: The capture that ``wanted`` was made of; ``""``: it was built.
        fields: Where the definitions of the two templates differ; a captured one has none.
        packages: Where what they hold differs; empty also where one of them is not known.
    """

    host: str
    persona: str
    lies_on: str | None
    wanted: str
    promoted: bool
    own: str
    built: bool
    captured: str = ""
    fields: tuple[FieldDiff, ...] = ()
    packages: tuple[PackageDiff, ...] = ()

    @property
    def behind(self) -> bool:
        """It was made from another template than it would be made from now."""
        return self.lies_on is not None and self.lies_on != self.wanted


@dataclass(frozen=True, slots=True)
class Promotion:
    """What was promoted: the template before (``None``: none was) and now, and who is behind."""

    persona: str
    before: str | None
    after: str | None
    behind: tuple[str, ...] = field(default=())


class Images:
    """The templates of one loaded lab."""

    def __init__(
        self,
        inventory: Inventory,
        engine: Engine,
        *,
        running: Running,
        check: Callable[[], None],
    ) -> None:
        self._inventory, self._engine = inventory, engine
        self._running, self._check = running, check

    def listing(self) -> tuple[Listed, ...]:
        """Every template that is there, by name. Changes nothing."""
        with self._running():
            found = self._kept(self._inventory.hosts.values())
        specs = {h.name: s for h, s in self._specs(self._inventory.hosts.values())}
        personas = {h.name: h.persona for h in self._inventory.hosts.values()}
        return tuple(
            Listed(
                template=template,
                promoted=tuple(
                    dict.fromkeys(
                        personas[h] for h, s in specs.items() if s.pinned and s.name == name
                    )
                ),
                wanted=tuple(h for h, s in specs.items() if s.name == name),
            )
            for name, template in sorted(found.items())
        )

    def standing(self, hosts: Sequence[Host]) -> tuple[HostImage, ...]:
        """What each of these hosts was made from, and what it would be made from now."""
        with self._running():
            found = self._kept(hosts)
            lies = {host: name for name, t in found.items() for host in t.users}
            lies |= self._told([h for h in hosts if h.name not in lies])
        return tuple(_standing(h, s, lies.get(h.name), found) for h, s in self._specs(hosts))

    def promote(
        self, personas: Sequence[str], template: str | None = None, captured: str = ""
    ) -> tuple[Promotion, ...]:
        """Let new machines of these personas be made from ``template``.

        ``None``: from what each one's definition comes to now. Writes ``promoted.yaml`` and nothing
        else. Raises ConfigError, PlanError, LabError.
        """
        specs = {name: self._spec_of(name) for name in personas}
        if template is not None and not captured:
            captured = self._there(personas, template).captured
        entries = {
            name: {
                "template": template or spec.own_name,
                **({"captured": captured} if captured else {}),
            }
            for name, spec in specs.items()
        }
        return self._put(specs, entries)

    def withdraw(self, personas: Sequence[str]) -> tuple[Promotion, ...]:
        """Let machines of these personas follow their definition again."""
        specs = {name: self._spec_of(name) for name in personas}
        for name, spec in specs.items():
            if not spec.pinned:
                raise PlanError(
                    f"Unable to take back what is promoted for {name}: nothing is.",
                    hint="lab image status",
                )
        return self._put(specs, dict.fromkeys(personas))

    def plan_prune(self, on_event: events.Listener = events.ignore) -> RunReport:
        """What :meth:`prune` would delete. Changes nothing."""
        with self._running(on_event) as listen:
            return self._engine.prune(Approval(), listen, only_plan=True)

    def prune(
        self, approval: Approval | None = None, on_event: events.Listener = events.ignore
    ) -> RunReport:
        """Delete the templates that no host lies on, is to be made from, or was promoted."""
        with self._running(on_event) as listen:
            return self._engine.prune(approval or Approval(), listen)

    def _put(
        self, specs: Mapping[str, Spec], entries: Mapping[str, Mapping[str, str] | None]
    ) -> tuple[Promotion, ...]:
        with locked(self._engine.workspace.state / "locks", [_LOCK], "promote"):
            promotions.put(self._inventory.root, entries, self._check)
        return tuple(self._promotion(name, specs[name], e) for name, e in entries.items())

    def _promotion(self, persona: str, spec: Spec, entry: Mapping[str, str] | None) -> Promotion:
        hosts = [h for h in self._inventory.hosts.values() if h.persona == persona]
        after = entry["template"] if entry else None
        wanted = after or spec.own_name
        with self._running():
            found = self._kept(hosts)
        users = [h.name for h in hosts if any(h.name in t.users for t in found.values())]
        there = found[wanted].users if wanted in found else ()
        behind = tuple(h for h in users if h not in there)
        return Promotion(persona, spec.name if spec.pinned else None, after, behind)

    def _spec_of(self, persona: str) -> Spec:
        """Of the first host of a persona that can have a promoted template."""
        hosts = [h for h in self._inventory.hosts.values() if h.persona == persona]
        found = [s for _, s in self._specs(hosts) if s.engine is None]
        if found:
            return found[0]
        if persona not in self._inventory.personas:
            known = ", ".join(sorted(self._inventory.personas))
            raise ConfigError([Problem("", f"unknown persona {persona!r} (known: {known})")])
        why = "no host is of that persona"
        if hosts:
            why = "its hosts are not made from a disk (containers follow their definition)"
        raise PlanError(f"Unable to promote a template for {persona}: {why}.")

    def _there(self, personas: Sequence[str], template: str) -> Template:
        hosts = [h for h in self._inventory.hosts.values() if h.persona in personas]
        with self._running():
            found = self._kept(hosts)
        if template not in found or found[template].damaged:
            known = ", ".join(name for name, t in found.items() if not t.damaged) or "none"
            what = found[template].damaged if template in found else f"it is not here ({known})"
            raise LabError(
                f"Unable to promote the template {template}: {what}.", hint="lab image list"
            )
        return found[template]

    def _told(self, hosts: Sequence[Host]) -> dict[str, str]:
        """What the machines themselves say that they were made from, where templates do not know.

        Only those that can be seen now, and say so.
        """
        found: dict[str, str] = {}
        layers = [k for k in self._engine.layers if "address" in k.outputs_type.model_fields]
        for layer in layers:
            for host in hosts:
                for part in host.parts.get(layer.name, ()):
                    driver = layer.drivers[part.driver](self._engine.workspace)
                    inputs = layer.inputs.model_validate({})
                    with suppress(DriverError):
                        seen = driver.observe(Target(host, part.spec, inputs, part.name))
                        name = getattr(seen, "template_name", None)
                        found |= {host.name: name} if name else {}
        return found

    def _kept(self, hosts: Iterable[Host]) -> dict[str, Template]:
        """What the drivers of these hosts keep, by name."""
        hosts, drivers = tuple(hosts), dict[tuple[str, str], Layer]()
        for host in hosts:
            for layer in self._engine.layers:
                for part in host.parts.get(layer.name, ()):
                    drivers.setdefault((layer.name, part.driver), layer)
        found: dict[str, Template] = {}
        for (_, name), layer in drivers.items():
            driver = layer.drivers[name](self._engine.workspace)
            if isinstance(driver, Shelving):
                see_places(layer, name, driver, hosts)
                found |= {t.name: t for t in driver.templates()}
        return found

    def _specs(self, hosts: Iterable[Host]) -> list[tuple[Host, Spec]]:
        return [
            (host, part.spec)
            for host in hosts
            for parts in host.parts.values()
            for part in parts
            if isinstance(part.spec, Spec)
        ]


def _standing(
    host: Host, spec: Spec, lies_on: str | None, found: Mapping[str, Template]
) -> HostImage:
    before = found.get(lies_on or "")
    after = found.get(spec.name)
    differs = before is not None and lies_on != spec.name
    captured = any(t is not None and t.captured for t in (before, after))
    then = before.definition if before is not None else {}
    wanted = after.definition if after is not None else {}
    if after is None and spec.name == spec.own_name:
        wanted = spec.definition.model_dump(mode="json")
    return HostImage(
        host=host.name,
        persona=host.persona,
        lies_on=lies_on,
        wanted=spec.name,
        promoted=spec.pinned,
        own=spec.own_name,
        built=after is not None and not after.damaged,
        fields=_fields(then, wanted) if differs and wanted and not captured else (),
        captured=after.captured if after is not None else "",
        packages=_packages(
            before.baseline if before else None, after.baseline if after and differs else None
        ),
    )


def _fields(before: Mapping[str, JSON], after: Mapping[str, JSON]) -> tuple[FieldDiff, ...]:
    return tuple(
        FieldDiff(name, before.get(name), after.get(name))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    )


def _packages(before: Baseline | None, after: Baseline | None) -> tuple[PackageDiff, ...]:
    if before is None or after is None or not before.complete or not after.complete:
        return ()
    old, new = before.packages, after.packages
    return tuple(
        PackageDiff(name, old.get(name), new.get(name))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    )


__all__ = ["HostImage", "Images", "Listed", "PackageDiff", "Promotion"]
