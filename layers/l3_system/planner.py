"""Pure: from what is declared and what was found to the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from lab.errors import LabError
from lab.layer import Above, Prediction, Target
from lab.lazy import Lazy
from lab.model.baseline import Baseline
from lab.model.host import Host, Part
from lab.model.plan import Blocker, Change, Plan
from layers.l3_system import container, contradictions, reachable
from layers.l3_system.kinds import lifeline, mount
from layers.l3_system.kinds.kind import Place, View, Wanted
from layers.l3_system.kinds.order import KINDS
from layers.l3_system.recipes.all import RECIPES
from layers.l3_system.recipes.recipe import made_by, specified
from layers.l3_system.spec import Document, Inputs, Observed, Outputs, Spec, Thing, unit_name

if TYPE_CHECKING:
    from layers.l3_system import errands
    from layers.l3_system.spec.errands import Rehearsal
else:
    errands = Lazy("layers.l3_system.errands")

_FORWARDING = {"docker", "qemu"}  # a port of ours leads to port 22 of such a machine
Where = tuple[str | int, ...]
Everything = Mapping[str, Mapping[str, Wanted]]


def parts(document: Document) -> tuple[Part, ...]:
    """What native does, then what other tools do; none for an appliance."""
    if document.system is None:
        return ()
    driver = "memory" if document.provider.kind == "memory" else "native"
    forwarded = document.provider.kind in _FORWARDING
    system, disks = document.system, document.machine.disks
    contained = document.provider.kind == "docker"
    if contained:  # its disks are mounted from outside
        system, disks = container.without_kernel(system), {}
    spec = specified(system, RECIPES, filesystems=disks, forwarded=forwarded)
    if contained:
        spec = container.own(spec, document.system)
    installed = {name for name, package in spec.packages.items() if package.state == "installed"}
    tools = document.system
    if not (tools.roles or tools.playbooks or tools.deploys):
        return (Part("", driver, spec),)
    return (Part("", driver, spec), *errands.parts(document, installed))


def place(host: Host, inputs: Inputs) -> Place:
    """What templates may use."""
    address = host.address.split("/")[0] if host.address else inputs.address
    return Place(host.name, host.persona, address, host.tags, host.vars)


def wanted(target: Target[Spec, Inputs]) -> Everything:
    """Every declared thing, by kind, in the order of applying."""
    here = place(target.host, target.inputs)
    try:
        return {kind.NAME: kind.wanted(target.spec, here) for kind in KINDS}
    except ValueError as error:
        raise LabError(
            f"Unable to work out the system of {target.host.name}: {error}.",
            hint=f"lab validate host={target.host.name}",
        ) from error


def plan(
    target: Target[Any, Inputs],
    observed: Observed | Rehearsal | None,
    replace_on: frozenset[str],  # noqa: ARG001 (an operating system is changed in place)
) -> Plan:
    """The plan of the native part, or of an errand."""
    if not isinstance(target.spec, Spec):
        return errands.plan(target, None if isinstance(observed, Observed) else observed)
    return _plan(target, observed if isinstance(observed, Observed) else None)


def _plan(target: Target[Spec, Inputs], observed: Observed | None) -> Plan:
    """First what goes, in reverse order, then what comes."""
    if target.absent:
        return Plan()  # it goes with its machine
    view = View(wanted(target), observed or Observed())
    changes: list[Change] = []
    blockers: list[Blocker] = []
    for kind in reversed(KINDS):
        changes += [kind.prune(name, view) for name in _undeclared(kind.NAME, view)]
    coming: list[Change] = []
    for kind in KINDS:
        for name in view.wanted[kind.NAME]:
            step = kind.compare(name, view)
            if isinstance(step, Blocker):
                blockers.append(step)
            elif step is not None:
                coming.append(step)
                view.changing.add(step.what)
    changes += mount.files_first(coming, target.spec)
    who = login(target, view.observed)
    blockers += lifeline.blockers(changes, who)
    notes = container.note(target.host.name, target.spec.left_out) if changes else ()
    return Plan(lifeline.in_order(changes, who), tuple(blockers), notes=notes)


def login(target: Target[Spec, Inputs], observed: Observed | None = None) -> lifeline.Login:
    """Who we log in as, as far as it is known."""
    user = target.inputs.user or ""
    declared = target.spec.users.get(user)
    found = observed.things.get("user", {}).get(user) if observed else None
    home = str(found.fields.get("home") or "") if found else ""
    return lifeline.Login(user, home or (declared.home if declared else None) or "")


def _undeclared(kind: str, view: View) -> list[str]:
    ours = (thing.partition(" ") for thing in view.observed.owned)
    names = [name for k, _, name in ours if k == kind and name not in view.wanted[kind]]
    return sorted(names, key=lambda name: (-name.count("/"), name))  # from within a folder first


def desired(target: Target[Spec, Inputs]) -> Observed:
    """What is found when everything is as declared: the plan for it is empty."""
    return Observed(
        things={
            kind: {n: Thing(fields=dict(w.fields)) for n, w in things.items() if not w.absent}
            for kind, things in wanted(target).items()
        }
    )


def fresh(target: Target[Any, Inputs]) -> Observed | None:
    """A newly made machine, from what its image's baseline says; the rest is not there."""
    return _fresh(target) if isinstance(target.spec, Spec) else None


def _fresh(target: Target[Spec, Inputs]) -> Observed:
    baseline = target.inputs.baseline
    if baseline is None:
        return Observed()
    spec = target.spec
    return Observed(
        things={
            "package": {
                name: Thing(fields={"state": "installed"}, facts={"version": version})
                for name in spec.packages
                if (version := baseline.packages.get(name)) is not None
            },
            "group": {
                name: Thing(fields={"gid": baseline.groups[name]})
                for name in spec.groups
                if name in baseline.groups
            },
            "user": _accounts(spec, baseline),
            "file": {
                path: Thing(
                    fields={
                        "content": baseline.conffiles[path],
                        "mode": "0644",
                        "owner": "root",
                        "group": "root",
                    },
                    facts={"kind": "file", "text": None},
                )
                for path in spec.files
                if path in baseline.conffiles
            },
            "service": _units(spec, baseline),
        }
    )


def _accounts(spec: Spec, baseline: Baseline) -> dict[str, Thing]:
    accounts = {name: baseline.users[name] for name in spec.users if name in baseline.users}
    return {
        name: Thing(
            fields={
                "uid": a.uid,
                "home": a.home,
                "shell": a.shell,
                "groups": sorted(a.groups),
                "authorized_keys": [],
            }
        )
        for name, a in accounts.items()
    }


def _units(spec: Spec, baseline: Baseline) -> dict[str, Thing]:
    """A unit that is enabled in the image runs after the first boot."""
    units = [unit_name(name) for name in spec.services]
    enabled = {u: baseline.units[u] == "enabled" for u in units if u in baseline.units}
    return {
        unit: Thing(fields={"state": "running" if on else "stopped", "enabled": on})
        for unit, on in enabled.items()
    }


def predict(target: Target[Any, Inputs], observed: Any, plan: Plan) -> Prediction:  # noqa: ARG001
    """The layers above see the same machine before and after."""
    return Prediction(outputs(target, observed), Above.AS_IS)


def outputs(target: Target[Any, Inputs], observed: Any) -> BaseModel:
    """The name it answers to, and what its tunnels are known by; an errand has nothing to add."""
    if not isinstance(target.spec, Spec):
        return errands.outputs()
    tunnels = observed.things.get("wireguard", {}) if isinstance(observed, Observed) else {}
    keys = {n: str(t.facts["public_key"]) for n, t in tunnels.items() if t.facts.get("public_key")}
    return Outputs(hostname=target.spec.hostname or target.host.name, wireguard=keys)


def check(host: Host, part: Part) -> tuple[tuple[Where, str], ...]:
    """Templates that do not render, and declarations that contradict each other."""
    spec = part.spec
    if not isinstance(spec, Spec):
        return ()
    here = place(host, Inputs())
    problems = [*contradictions.problems(spec, here), *reachable.problems(spec, here)]
    return tuple(_placed(problems, spec))


def _placed(problems: list[tuple[Where, str]], spec: Spec) -> Iterator[tuple[Where, str]]:
    """What a recipe made stands nowhere: its problems are told at the recipe's own key."""
    makers = made_by(spec, RECIPES) if problems else {}
    for where, text in problems:
        maker = makers.get((str(where[1]), str(where[2])))
        yield (where if maker is None else ("system", maker)), text
