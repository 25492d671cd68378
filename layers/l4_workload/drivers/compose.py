"""Compose v2 on the host, through our one session with it. Users' files go there unmodified."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import NoReturn

from lab.abilities import Described
from lab.clients.shell import Endpoint, Reply, Shell, shells
from lab.errors import DriverError, TransportError
from lab.layer import Target, Workspace
from lab.model.plan import Action, Change
from lab.model.standing import Content, Marker, first_marks, path_of
from lab.model.undeclared import Known, Undeclared
from layers.l4_workload import drift, health
from layers.l4_workload import survey as whole_engine
from layers.l4_workload.imagebuild import ImageShelf
from layers.l4_workload.planner import distrust, kept
from layers.l4_workload.remote import deployment, logs, probe
from layers.l4_workload.spec import Container, Inputs, Observed, Record, Workload

WorkloadTarget = Target[Workload, Inputs]

_WITHIN = 60.0
_PAUSE = 1.0
_LOG_LINES = 20
_PIECE = 1 << 16
_HERE = {"127.0.0.1", "::1", "localhost"}
_PACKAGES = "image: {packages: [docker.io, docker-cli, docker-compose, curl]}"


class ComposeDriver:
    """One Compose project a workload, in /var/lib/strata/workloads on the host."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def observe(self, target: WorkloadTarget) -> Observed | None:
        """Look at the project once: one round trip, and one try of the health check."""
        observed = self._look(target)
        return observed if observed.deployed or distrust(target, observed) else None

    def survey(self, target: WorkloadTarget, known: Known) -> tuple[Undeclared, ...]:  # noqa: ARG002
        """What the engine has that belongs to no workload of this host; one round trip."""
        declared = {part.name for part in target.host.parts.get("l4_workload", ())}
        return whole_engine.undeclared(self._engine(target), declared)

    def describe(self, target: WorkloadTarget, known: Known) -> Described:  # noqa: ARG002
        """Projects that run already are told, not declared: their files are somebody's to fetch."""
        return Described(left=whole_engine.projects(self._engine(target)))

    def _engine(self, target: WorkloadTarget) -> whole_engine.Engine:
        target.report("looks at the whole engine")
        doing = "look at the container engine"
        reply = self._shell(target).run(
            whole_engine.script(), doing=doing, deadline=whole_engine.DEADLINE, check=False
        )
        try:
            engine = whole_engine.read(reply.text)
        except ValueError:
            engine = None
        if engine is None:
            why = reply.lines[-1] if reply.lines else "its answer is cut short"
            raise DriverError(
                f"Unable to {doing} on {target.host.name}: {why.strip().rstrip('.')}.",
                status=reply.status,
                lines=reply.lines,
            )
        return engine

    def apply(self, target: WorkloadTarget, change: Change) -> None:
        """Deploy it, or take it away. What is already done is not done again."""
        if change.action is Action.DELETE:
            self._remove(target, change)
            return
        observed = self._look(target)
        if observed.engine != "running":
            target.report("waiting for Docker")
            self._run(target, deployment.wait_for_engine(), f"deploy {change.what}", 120.0)
            observed = self._look(target)
        loaded = self._load_images(target, observed)
        self._deploy(target, observed, change)
        self._settle(target)
        if loaded:
            self._run(target, deployment.prune_images(), "remove replaced images", 120.0)

    def quiesce(self, target: WorkloadTarget) -> None:
        """Stop its containers; the next plan wants them running again."""
        script = deployment.stop(target.name)
        self._run(target, script, f"stop workload {target.name}", 300.0)

    def _look(self, target: WorkloadTarget) -> Observed:
        place = _place(target)
        check = None if target.absent else target.spec.health
        files = () if target.absent else drift.expected_files(target.spec)
        one = None if target.absent else kept(target.host, target.name, target.spec)
        paths = path_of(one) if one is not None else ()
        script = probe.script(target.name, files, check if place is None else None, paths)
        doing = f"look at workload {target.name}"
        reply = self._shell(target).run(script, doing=doing, deadline=150.0, check=False)
        try:
            answer = probe.parse(reply.text, paths)
        except (ValueError, KeyError) as error:
            why = reply.lines[-1] if reply.lines else str(error)
            raise DriverError(
                f"Unable to {doing} on {target.host.name}: {why.strip().rstrip('.')}.",
                status=reply.status,
                lines=reply.lines,
            ) from error
        observed = answer.observed
        if observed.engine == "running" and answer.way == "none":
            raise DriverError(
                f"Unable to {doing} on {target.host.name}: neither curl nor docker is there.",
                hint="add curl to the persona: system: {packages: [curl]}",
            )
        if check is None or not any(c.state == "running" for c in observed.containers):
            return observed
        asked = place is not None
        verdict = (
            health.ask(check, place or "")
            if asked
            else health.judge(check, answer.status, answer.page)
        )
        return observed.model_copy(update={"healthy": verdict.healthy, "answer": verdict.answer})

    def _load_images(self, target: WorkloadTarget, observed: Observed) -> bool:
        """Build what is missing here, and stream it into the host's engine."""
        shelf = self._workspace.resource(ImageShelf)
        loaded = False
        for name, wanted in drift.expected_images(target.spec).items():
            if observed.images.get(name) == wanted:
                continue
            image = shelf.image(name, target.spec.images[name], target.report)
            doing = f"sending image {name}"
            target.report(doing, 0, image.size)

            def sent(count: int, doing: str = doing, total: int = image.size) -> None:
                target.report(doing, count, total)

            with image.archive.open("rb") as stream:
                reply = self._shell(target).run(
                    deployment.load(),
                    doing=f"load image {name}",
                    stdin=iter(lambda: stream.read(_PIECE), b""),
                    stdin_size=image.size,
                    deadline=600.0,
                    check=False,
                    on_sent=sent,
                )
            _require(target, reply, f"load image {name}")
            loaded = True
        return loaded

    def _deploy(self, target: WorkloadTarget, observed: Observed, change: Change) -> None:
        spec, before = target.spec, observed.record or Record()
        expected = drift.expected_files(spec)
        record = Record(files={**before.files, **expected}, containers=before.containers)
        script = deployment.deploy(
            target.name,
            spec.compose.main.path.rpartition("/")[2],
            gone=before.files.keys() - expected.keys(),
            recreate=drift.to_recreate(spec, observed, f"{probe.ROOT}/{target.name}"),
            paused=[c.id for c in observed.containers if c.state == "paused"],
            strangers=[c.id for c in observed.containers if not c.config and observed.record],
            marks=_first_marks(target, observed),
        )
        target.report("starting containers")
        bundle = deployment.bundle(dict(_contents(spec)), record.model_dump_json().encode())
        doing = f"deploy {change.what}"
        reply = self._shell(target).run(
            script, doing=doing, stdin=bundle, deadline=change.deadline, check=False
        )
        if reply.status not in {0, deployment.NO_COMPOSE, deployment.NO_ENGINE}:
            self._explain_failed_start(target, reply, doing)
        _require(target, reply, doing)

    def _settle(self, target: WorkloadTarget) -> None:
        """Wait until all is well, then write down on the host what well looks like."""
        check = target.spec.health
        within = float(check.within) if check is not None else _WITHIN
        ends = time.monotonic() + within
        calm = 0
        while True:
            self._workspace.check()
            observed = self._look(target)
            calm = calm + 1 if _is_well(target.spec, observed) else 0
            # Without a health check, one look cannot tell a service from one that dies at once.
            if calm >= (1 if check is not None else 2):
                break
            if time.monotonic() > ends or any(map(_died, observed.containers)):
                self._explain_unwell(target, observed, within)
            target.report(f"waiting for {_awaited(target.spec, observed)}")
            self._workspace.cancelled.wait(_PAUSE)
        files = drift.expected_files(target.spec)
        record = Record(finished=True, files=files, containers=observed.containers)
        self._run(
            target,
            deployment.keep_record(target.name),
            f"record workload {target.name}",
            60.0,
            record.model_dump_json().encode(),
        )

    def _remove(self, target: WorkloadTarget, change: Change) -> None:
        observed = self._look(target)
        record = observed.record or Record()
        target.report("stopping containers")
        script = deployment.remove(
            target.name,
            record.files,
            target.spec.images,
            running=observed.engine == "running" or bool(record.containers),
        )
        self._run(target, script, f"remove {change.what}", change.deadline)

    def _shell(self, target: WorkloadTarget) -> Shell:
        inputs = target.inputs
        if inputs.address is None:
            raise TransportError(
                f"Unable to reach {target.host.name}: its address is not known yet.",
                hint=f"lab converge l2 host={target.host.name}",
            )
        endpoint = Endpoint(
            name=target.host.name,
            kind=inputs.connection,
            address=inputs.address,
            port=inputs.port or 22,
            user=inputs.user or "",
            host_key=inputs.host_key,
            identity_file=inputs.identity_file,
            sudo_password=inputs.sudo_password,
        )
        return self._workspace.resource(shells).to(endpoint)

    def _run(
        self, target: WorkloadTarget, script: str, doing: str, deadline: float, stdin: bytes = b""
    ) -> None:
        reply = self._shell(target).run(
            script, doing=doing, stdin=stdin, deadline=deadline, check=False
        )
        _require(target, reply, doing)

    def _explain_failed_start(self, target: WorkloadTarget, reply: Reply, doing: str) -> NoReturn:
        """Compose itself gave up: its last words, and those of the containers in trouble."""
        said = [line.strip() for line in reply.lines if line.strip()]
        why = said[-1] if said else f"Compose ended with status {reply.status}"
        troubled = [c for c in self._look(target).containers if not c.settled]
        raise DriverError(
            f"Unable to {doing} on {target.host.name}: {why.rstrip('.')}.",
            hint=_again(target),
            status=reply.status,
            lines=[*said, *self._last_lines(target, troubled)],
        )

    def _explain_unwell(
        self, target: WorkloadTarget, observed: Observed, within: float
    ) -> NoReturn:
        troubled = [c for c in observed.containers if not c.settled]
        told = [f"{c.title} is {drift.describe(c)}" for c in troubled]
        check = target.spec.health
        if check is not None and observed.healthy is False:
            told.append(f"{check.title}: {observed.answer}")
        elif check is not None and not troubled:
            told.append(f"{check.title} cannot be asked (no forwarded port, and no curl there)")
        why = "; ".join(told) or "none of its containers runs"
        after = "" if any(map(_died, troubled)) else f" after {within:.0f} s"
        raise DriverError(
            f"Unable to deploy workload {target.name} on {target.host.name}: "
            f"it is not healthy{after}: {why}.",
            hint=_again(target),
            lines=self._last_lines(target, troubled or list(observed.containers)),
        )

    def _last_lines(self, target: WorkloadTarget, containers: list[Container]) -> list[str]:
        lines = []
        for container in containers[:3]:
            reply = self._shell(target).run(
                logs.script(container.id, _LOG_LINES),
                doing=f"read the log of {container.title}",
                check=False,
            )
            lines += [f"{container.title} | {line}" for line in logs.parse(reply.stdout)]
        return lines


def _first_marks(target: WorkloadTarget, observed: Observed) -> tuple[Marker, ...]:
    """How its data stands, where nobody wrote that down yet."""
    if target.name in target.inputs.restoring:
        return ()  # whoever restores writes them
    looked = observed.standing
    if not target.spec.data and observed.deployed:
        looked = tuple(dataclasses.replace(one, content=Content.FULL) for one in looked)
    return first_marks(looked, target.name, time.time())


def _place(target: WorkloadTarget) -> str | None:
    """Where this machine reaches the health check's port: ``host:port``, or nowhere."""
    check, inputs = target.spec.health, target.inputs
    if check is None or inputs.shut:
        return None
    forwarded = inputs.endpoints.get(str(check.port))
    if forwarded is not None:
        return forwarded
    if inputs.connection == "local":
        return f"127.0.0.1:{check.port}"
    outside = inputs.address is not None and inputs.address not in _HERE
    return f"{inputs.address}:{check.port}" if outside else None


def _contents(spec: Workload) -> Iterator[tuple[str, tuple[bytes, bool]]]:
    tree = spec.compose.tree
    for name, file in zip(tree.names(), tree.files, strict=True):
        yield name, (file.content, file.executable)
    environment = drift.environment_file(spec)
    if environment is not None:
        yield drift.ENVIRONMENT_FILE, (environment, False)


def _is_well(spec: Workload, observed: Observed) -> bool:
    containers = observed.containers
    well = bool(containers) and all(c.settled for c in containers)
    return well and (spec.health is None or observed.healthy is True)


def _died(container: Container) -> bool:
    ended = container.state in {"exited", "dead"} and container.restart in {"", "no"}
    return ended and not container.ended_well


def _awaited(spec: Workload, observed: Observed) -> str:
    waiting = [f"{c.title} ({drift.describe(c)})" for c in observed.containers if not c.settled]
    if not waiting and spec.health is not None:
        return f"{spec.health.title} ({observed.answer or 'no answer'})"
    return ", ".join(waiting) or "its containers"


def _again(target: WorkloadTarget) -> str:
    return f"read the lines above, mend the persona, then: lab converge l4 host={target.host.name}"


def _require(target: WorkloadTarget, reply: Reply, doing: str) -> None:
    if reply.status == 0:
        return
    host, hint, why = target.host.name, "", ""
    if reply.status == deployment.NO_COMPOSE:
        why = "Docker with Compose v2 is not installed there"
        hint = f"add the packages to the persona: {_PACKAGES}"
    elif reply.status == deployment.NO_ENGINE:
        why = "Docker is installed there, but it is not running"
        hint = "declare it in the persona: system: {services: {docker: running}}"
    else:
        why = reply.lines[-1].strip() if reply.lines else f"status {reply.status}"
    raise DriverError(
        f"Unable to {doing} on {host}: {why.rstrip('.')}.",
        hint=hint,
        status=reply.status,
        lines=reply.lines,
    )
