"""The Compose driver against a host that answers from a list: what it sends, and what it says."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

from lab.clients.shell import Reply, shells
from lab.errors import DriverError, Interrupted, TransportError
from lab.model.plan import Action, Change
from layers.l4_workload import drift, health, planner
from layers.l4_workload.drivers.compose import ComposeDriver
from layers.l4_workload.remote import deployment, probe
from layers.l4_workload.spec import Container, Inputs, Observed

NOTHING = frozenset[str]()
UPDATE = Change(Action.UPDATE, "workload start")


@dataclass
class FakeHost:
    """Stands for the pool and the session: answers probes in turn, the last one for ever."""

    probes: list[bytes]
    replies: dict[str, Reply] = field(default_factory=dict)
    sent: list[tuple[str, bytes]] = field(default_factory=list)

    def to(self, endpoint: object) -> "FakeHost":
        return self

    def run(self, script: str, *, stdin: bytes | Iterable[bytes] = b"", **_: object) -> Reply:
        body = stdin if isinstance(stdin, bytes) else b"".join(stdin)
        if probe._MARK in script:
            found = self.probes.pop(0) if len(self.probes) > 1 else self.probes[0]
            return Reply(0, found, b"")
        self.sent.append((script, body))
        known = (reply for mark, reply in self.replies.items() if mark in script)
        return next(known, Reply(0, b"", b""))


def answer(observed: Observed | None, engine: str = "running curl") -> bytes:
    """What the probe would bring for it. Containers are the engine's JSON again."""
    observed = observed or Observed()
    mark = probe._MARK
    record = "" if observed.record is None else observed.record.model_dump_json()
    sums = "".join(f"{v.removesuffix('+x')}  ./{k}\n" for k, v in observed.files.items())
    runnable = "".join(f"./{k}\n" for k, v in observed.files.items() if v.endswith("+x"))
    images = [
        {"RepoTags": [k], "Labels": {probe.IMAGE_LABEL: v}} for k, v in observed.images.items()
    ]
    sections = {
        "engine": engine,
        "record": record,
        "files": sums,
        "executable": runnable,
        "standing": "full -",
        "containers": "\n".join(map(inspected, observed.containers)),
        "images": json.dumps(images),
        "end": "",
    }
    return "".join(f"\n{mark} {name}\n{body}\n" for name, body in sections.items()).encode()


def inspected(container: Container) -> str:
    labels = {"com.docker.compose.service": container.service}
    state = {"Status": container.state, "ExitCode": container.exit_code}
    environment = [f"{k}={v}" for k, v in container.environment.items()]
    return json.dumps(
        {
            "Id": container.id or "c0",
            "Name": f"/{container.name}",
            "State": state | ({"Health": {"Status": container.health}} if container.health else {}),
            "HostConfig": {"RestartPolicy": {"Name": container.restart}},
            "Config": {"Labels": labels, "Env": environment},
        }
    )


@pytest.fixture
def driver_on(workspace, monkeypatch) -> Callable[[FakeHost], ComposeDriver]:
    monkeypatch.setattr(health, "ask", lambda check, place: health.Verdict(True, "200"))

    def make(host: FakeHost) -> ComposeDriver:
        workspace._resources[shells] = host
        return ComposeDriver(workspace)

    return make


def test_observing_a_well_workload_plans_nothing_and_sends_nothing(target_of, driver_on):
    target = target_of()
    host = FakeHost([answer(planner.desired(target))])
    observed = driver_on(host).observe(target)
    assert not planner.plan(target, observed, NOTHING)
    assert host.sent == []


def test_a_workload_whose_data_has_captures_never_starts_on_an_empty_path(driver_on, target_of):
    empty = answer(None).replace(b"full -", b"absent -")
    inputs = Inputs(address="127.0.0.1", port=2222, captured={"start": 5.0})
    target = target_of(inputs=inputs)
    driver = driver_on(FakeHost([empty]))
    plan = planner.plan(target, driver.observe(target), NOTHING)
    assert not plan.changes
    (blocker,) = plan.blockers
    assert blocker.why == (
        "/srv/start is absent, and there are captures of it: it never starts on that"
    )
    assert blocker.hint.startswith("lab restore host=web1 data=start; ")
    one_that_restores = inputs.model_copy(update={"restoring": frozenset({"start"})})
    assert driver.observe(target_of(inputs=one_that_restores)) is None


def test_a_first_deployment_leaves_marks_beside_the_data(driver_on, target_of):
    target = target_of()
    empty = answer(None).replace(b"full -", b"absent -")
    host = FakeHost([empty, answer(planner.desired(target))])
    driver_on(host).apply(target, Change(Action.CREATE, "workload start"))
    script = next(script for script, _ in host.sent if "record.json" in script)
    assert '"standing": "fresh"' in script
    assert script.index('"standing": "fresh"') < script.index(" up -d")


def test_nothing_there_is_none(target_of, driver_on):
    assert driver_on(FakeHost([answer(None)])).observe(target_of()) is None


def test_an_unknown_address_is_not_absence(target_of, driver_on):
    with pytest.raises(TransportError, match="address is not known yet"):
        driver_on(FakeHost([b""])).observe(target_of(inputs=Inputs()))


def test_a_host_without_curl_and_docker_is_told_to_get_one(target_of, driver_on):
    host = FakeHost([answer(None, "running none")])
    with pytest.raises(DriverError, match="neither curl nor docker is there") as caught:
        driver_on(host).observe(target_of())
    assert "packages: [curl]" in caught.value.hint


def test_a_deployment_loads_the_image_sends_the_project_and_writes_down_what_well_is(
    target_of, driver_on, load, tmp_path
):
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "compose.yaml").write_text("services: {web: {image: 'home/x:1'}}")
    (tmp_path / "start" / "page").write_text("hello")
    (part,) = load(
        "start: {compose: start/compose.yaml, health: {http: ':8080/'},"
        " images: {'home/x:1': {files: {/page: start/page}}}}",
        tmp_path,
    )
    target = target_of()
    target = type(target)(target.host, part.spec, target.inputs, "start")
    well = planner.desired(target)
    host = FakeHost([answer(None), answer(well)])
    driver_on(host).apply(target, Change(Action.CREATE, "workload start"))

    (load_script, archive), (deploy_script, bundle), (_, record), (prune, _) = host.sent
    assert "images/load" in load_script
    assert archive[:2] == b"\x1f\x8b"
    assert "up -d --remove-orphans" in deploy_script
    assert "--force-recreate" not in deploy_script
    assert b"hello" in bundle
    assert "images/prune" in prune
    kept = json.loads(record)
    assert kept["finished"] is True
    assert kept["files"] == drift.expected_files(target.spec)
    assert [c["service"] for c in kept["containers"]] == ["web"]


def test_a_workload_that_stays_unhealthy_is_told_with_its_last_words(
    target_of, driver_on, monkeypatch, workloads
):
    target = target_of(workloads.replace("within: 30s", "within: 0s"))
    host = FakeHost(
        [answer(planner.desired(target))],
        {"/logs?": Reply(0, b"\x01\0\0\0\0\0\0\x0bno database", b"")},
    )
    driver = driver_on(host)
    monkeypatch.setattr(health, "ask", lambda check, place: health.Verdict(False, "503"))
    with pytest.raises(DriverError) as caught:
        driver.apply(target, UPDATE)
    assert caught.value.message == (
        "Unable to deploy workload start on web1: it is not healthy after 0 s: http :8080/: 503."
    )
    assert caught.value.lines == ("web | no database",)
    assert not any(re.search(r"start\.json\.new", script) for script, _ in host.sent)


def test_a_container_that_dies_is_not_waited_for(target_of, driver_on):
    target = target_of()
    well = planner.desired(target)
    (web,) = well.containers
    dead = web.model_copy(update={"state": "exited", "exit_code": 3, "restart": "no"})
    host = FakeHost([answer(well), answer(well.model_copy(update={"containers": (dead,)}))])
    with pytest.raises(DriverError, match=r"it is not healthy: web is exited \(3\)\."):
        driver_on(host).apply(target, UPDATE)


@pytest.mark.parametrize(
    ("status", "message", "hint"),
    [
        (deployment.NO_COMPOSE, "Compose v2 is not installed there", "docker-compose"),
        (deployment.NO_ENGINE, "it is not running", "services: {docker: running}"),
        (1, "no space left on device", "lab converge l4 host=web1"),
    ],
)
def test_a_host_that_cannot_deploy_says_why(target_of, driver_on, status, message, hint):
    target = target_of()
    refusal = Reply(status, b"", b"web Pulling\nno space left on device\n")
    host = FakeHost([answer(planner.desired(target))], {"up -d": refusal})
    with pytest.raises(DriverError, match=message) as caught:
        driver_on(host).apply(target, UPDATE)
    assert hint in caught.value.hint


def test_a_stopped_engine_is_waited_for_and_then_reported(target_of, driver_on):
    target = target_of()
    stopped = planner.desired(target).model_copy(update={"containers": (), "images": {}})
    host = FakeHost(
        [answer(stopped, "stopped curl")],
        {"until alive": Reply(deployment.NO_ENGINE, b"", b"")},
    )
    driver = driver_on(host)
    plan = planner.plan(target, driver.observe(target), NOTHING)
    assert [f.field for f in plan.changes[0].fields] == ["engine"]
    with pytest.raises(DriverError, match="it is not running"):
        driver.apply(target, plan.changes[0])


def test_removing_keeps_volumes_and_takes_only_recorded_files(target_of, driver_on):
    target = target_of(absent=True)
    host = FakeHost([answer(planner.desired(target))])
    driver_on(host).apply(target, Change(Action.DELETE, "workload start"))
    ((script, _),) = host.sent
    assert "down --remove-orphans" in script
    assert not re.search(r"down .*(-v|--volumes)", script)
    assert "rm -f -- ./compose.yaml ./site/cgi-bin/index.cgi ./site/style.css" in script
    assert "rm -rf /var/lib/strata/workloads/start\n" not in script


def test_the_user_can_stop_the_waiting(target_of, driver_on, workspace):
    target = target_of()
    workspace.cancelled.set()
    with pytest.raises(Interrupted):
        driver_on(FakeHost([answer(planner.desired(target))])).apply(target, UPDATE)
