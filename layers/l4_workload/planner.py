"""Pure: which workloads a host has, what must be done to one, and what it hands up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lab.layer import Above, Layer, Prediction, Target
from lab.model.dataset import DataSet
from lab.model.host import Host, Part
from lab.model.plan import Action, Blocker, Change, FieldDiff, Plan
from lab.model.standing import Content, unproven
from lab.model.undeclared import Known, Sort
from layers.l4_workload import drift
from layers.l4_workload.composition import Composition, read, read_project
from layers.l4_workload.spec import FOLDER, Document, Inputs, Observed, Outputs, Workload

WorkloadTarget = Target[Workload, Inputs]
Problems = tuple[tuple[tuple[str | int, ...], str], ...]

_STEP_SECONDS = 600.0


def parts(document: Document) -> tuple[Part, ...]:
    """One part a workload, in the order they are written."""
    driver = "memory" if document.provider.kind == "memory" else "compose"
    return tuple(Part(name, driver, workload) for name, workload in document.workloads.items())


def surveyor(layer: Layer, host: Host) -> Part | None:
    """The first workload; on a host without any, a part that stands for none."""
    for part in host.parts.get(layer.name, ()):
        return part
    only_remembered = any(p.driver == "memory" for parts in host.parts.values() for p in parts)
    return None if only_remembered else Part("", "compose", Document())


def known(host: Host, part: Part) -> Known:  # noqa: ARG001 (the protocol's signature)
    """The folders that hold a workload's data: they are captured."""
    data = part.spec.data if isinstance(part.spec, Workload) else ()
    return frozenset((Sort.DIRECTORY, folder) for folder in data)


def data(host: Host, part: Part) -> tuple[DataSet, ...]:  # noqa: ARG001 (the protocol's signature)
    """What a workload keeps: one set, by its name."""
    spec = part.spec
    if not isinstance(spec, Workload) or not (spec.data or spec.capture.dump):
        return ()
    hooks = spec.capture
    return (
        DataSet(
            name=part.name,
            paths=tuple(sorted(spec.data)),
            exclude=hooks.exclude,
            dump=hooks.dump,
            restore=hooks.restore,
            before=hooks.quiesce.before,
            after=hooks.quiesce.after,
            route=hooks.route or "",
            folder=f"{FOLDER}/{part.name}",
            workload=part.name,
            where=("workloads", part.name),
        ),
    )


def desired(target: WorkloadTarget) -> Observed:
    """What observing finds when there is nothing to do."""
    return drift.desired(target.spec)


def plan(target: WorkloadTarget, observed: Observed | None, replace_on: frozenset[str]) -> Plan:  # noqa: ARG001
    """At most one change: deploying is one step for Compose, and so it is for us."""
    if target.absent:
        return Plan() if observed is None else Plan((_removal(target, observed),))
    notes = tuple(_notes(target))
    if observed is not None:
        why = distrust(target, observed)
        if why:
            return Plan(blockers=(_not_on_nothing(target, why),), notes=notes)
    if observed is None or not observed.deployed:
        fields = _declared(target.spec)
        return Plan((_change(target, Action.CREATE, fields, "not deployed"),), notes=notes)
    if observed.record is None and observed.containers and not target.adopt:
        return Plan(blockers=(_foreign(target, observed),), notes=notes)
    fields = drift.differences(target.spec, observed)
    if not fields:
        return Plan(notes=notes)
    reason = _reason(target.spec, observed)
    return Plan((_change(target, Action.UPDATE, fields, reason),), notes=notes)


def predict(target: WorkloadTarget, observed: Observed | None, plan: Plan) -> Prediction:  # noqa: ARG001
    """Addresses depend on the ports below only: they are known before anything runs."""
    return Prediction(_urls(target), Above.AS_IS)


def outputs(target: WorkloadTarget, observed: Observed | None) -> Outputs:  # noqa: ARG001
    """The same: this workload's address beside those of the workloads before it."""
    return _urls(target)


def check(host: Host, part: Part) -> Problems:  # noqa: ARG001
    """What the types cannot see: the Compose file itself, and what the persona says about it."""
    spec = part.spec
    if not isinstance(spec, Workload) or not spec.compose.main.content:
        return ()
    path = ("workloads", part.name)
    try:
        composition = read(spec.compose.main)
    except ValueError as error:
        return (((*path, "compose"), str(error)),)
    return (*_unused_images(path, spec, composition), *_silent_port(path, spec, composition))


def _unused_images(
    path: tuple[str, str], spec: Workload, composition: Composition
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    used = {s.image for s in composition.services}
    if not composition.whole or any("$" in image for image in used):
        return
    for name in spec.images:
        if name not in used:
            named = ", ".join(sorted(i for i in used if i)) or "none"
            yield (
                (*path, "images", name),
                f"no service in {spec.compose.main.path} uses this image (they use: {named})",
            )


def _silent_port(
    path: tuple[str, str], spec: Workload, composition: Composition
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if spec.health is None or not composition.whole:
        return
    published: list[int] = []
    for service in composition.services:
        if service.ports is None:
            return
        published += service.ports
    if spec.health.port not in published:
        ports = ", ".join(map(str, sorted(published))) or "none"
        kind = "http" if spec.health.http is not None else "tcp"
        yield (
            (*path, "health", kind),
            f"no service in {spec.compose.main.path} publishes this port (they publish: {ports})",
        )


def _urls(target: WorkloadTarget) -> Outputs:
    health = target.spec.health
    if target.absent or health is None or health.http is None:
        return Outputs(urls=target.inputs.urls)
    if target.inputs.shut:
        return Outputs(urls=target.inputs.urls)
    place = target.inputs.endpoints.get(str(health.port))
    if place is None and target.inputs.connection == "local":
        place = f"127.0.0.1:{health.port}"
    if place is None and target.inputs.address not in {None, "127.0.0.1", "::1", "localhost"}:
        place = f"{target.inputs.address}:{health.port}"
    if place is None:
        return Outputs(urls=target.inputs.urls)
    return Outputs(urls={**target.inputs.urls, target.name: f"http://{place}{health.path}"})


def _change(
    target: WorkloadTarget, action: Action, fields: tuple[FieldDiff, ...], reason: str
) -> Change:
    health = target.spec.health
    return Change(
        action,
        f"workload {target.name}",
        fields,
        reason=reason,
        interrupts=f"{target.name} may restart" if action is Action.UPDATE else "",
        deadline=_STEP_SECONDS + (health.within if health is not None else 0),
    )


def _removal(target: WorkloadTarget, observed: Observed) -> Change:
    services = sorted(c.title for c in observed.containers)
    return Change(
        Action.DELETE,
        f"workload {target.name}",
        (FieldDiff("services", ", ".join(services) or None, None),),
        reason="no longer declared; volumes and folders with data stay",
        interrupts=f"{target.name} stops",
        deadline=_STEP_SECONDS,
    )


def _foreign(target: WorkloadTarget, observed: Observed) -> Blocker:
    names = ", ".join(sorted(c.name or c.title for c in observed.containers))
    return Blocker(
        f"workload {target.name}",
        f"a Compose project of that name runs on {target.host.name}, "
        f"and this lab did not deploy it ({names})",
        hint=f"lab converge l4 host={target.host.name} --adopt, or give the workload another name",
    )


def kept(host: Host, name: str, spec: Workload) -> DataSet | None:
    """The set of data of a workload; ``None``: it keeps nothing."""
    return next(iter(data(host, Part(name, "", spec))), None)


def distrust(target: WorkloadTarget, observed: Observed) -> str:
    """Why it must not start, or go on, on the data that is there; ``""``: it may."""
    inputs, looked = target.inputs, observed.standing
    if target.name in inputs.restoring:
        return ""
    captured = inputs.captured.get(target.name)
    if not target.spec.data and observed.deployed:  # a mere dump's data lies in what runs
        looked = tuple(replace(one, content=Content.FULL) for one in looked)
    return unproven(looked, captured)


def _not_on_nothing(target: WorkloadTarget, why: str) -> Blocker:
    words = f"host={target.host.name} data={target.name}"
    return Blocker(
        f"workload {target.name}",
        f"{why}: it never starts on that",
        hint=f"lab restore {words}; or to begin anew: lab restore {words} --as-fresh",
    )


def _declared(spec: Workload) -> tuple[FieldDiff, ...]:
    composition = read_project(spec.compose)
    services = [s.name for s in composition.services] if composition is not None else []
    fields = [
        FieldDiff("compose", None, spec.compose.main.path),
        FieldDiff("services", None, ", ".join(services)),
        *(FieldDiff(f"image {n}", None, d) for n, d in sorted(drift.expected_images(spec).items())),
    ]
    if spec.data:
        fields.append(FieldDiff("data", None, ", ".join(spec.data)))
    if spec.health is not None:
        fields.append(FieldDiff("health", None, spec.health.title))
    return tuple(fields)


def _reason(spec: Workload, observed: Observed) -> str:
    """Who moved: the persona, the host, or both."""
    if observed.engine != "running":
        return f"Docker is {observed.engine}"
    record = observed.record
    if record is None:
        return "adopted: it was there before"
    expected = drift.expected_files(spec)
    images = drift.expected_images(spec).items()
    edited = sorted(p for p, kept in record.files.items() if observed.files.get(p, kept) != kept)
    gone = sorted(p for p in record.files if p in expected and p not in observed.files)
    renewed = any(observed.images.get(name, wanted) != wanted for name, wanted in images)
    reasons = [] if record.finished else ["the last deployment did not finish"]
    reasons += ["the declaration changed"] if renewed or expected != record.files else []
    reasons += [f"edited on the host: {', '.join(edited)}"] if edited else []
    reasons += [f"gone from the host: {', '.join(gone)}"] if gone else []
    return "; ".join(reasons) or "changed on the host"


def _notes(target: WorkloadTarget) -> Iterator[str]:
    composition = read_project(target.spec.compose)
    if composition is None or not composition.whole:
        return
    binds = [bind for service in composition.services for bind in service.binds]
    for folder in target.spec.data:
        if not any(b == folder or b.startswith(f"{folder}/") for b in binds):
            yield (
                f"{target.name}: no service mounts {folder}, "
                "though the persona says that its data is there"
            )
