"""The demo's workload on a real engine over real SSH: every drift named, mended, and only that."""

import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.errors import DriverError
from lab.layer import Target
from lab.model.plan import Action, Plan
from layers.l4_workload import planner
from layers.l4_workload.drivers.compose import ComposeDriver
from layers.l4_workload.spec import Inputs, Workload

HERE = "/var/lib/strata/workloads/start"

STRANGER = (
    "docker run -d --label com.docker.compose.project=start"
    " --label com.docker.compose.service=other"
)

pytestmark = [pytest.mark.engine, pytest.mark.slow]

DRIFTS = {
    "container killed": ("docker kill start-web-1", {"web state"}),
    "container stopped": ("docker stop start-web-1", {"web state"}),
    "container removed": ("docker rm -f start-web-1", {"web state"}),
    "container paused": ("docker pause start-web-1", {"web state"}),
    "environment edited": (
        f"cd {HERE} && sed -i s/Welcome/Hacked/ compose.yaml && docker compose up -d",
        {"file compose.yaml", "web environment GREETING", "health http :8080/"},
    ),
    "page edited": (f"echo x >> {HERE}/site/style.css", {"file site/style.css"}),
    "folder removed": (
        f"rm -r {HERE}",
        {
            "file compose.yaml",
            "file site/style.css",
            "file site/cgi-bin/index.cgi",
            "health http :8080/",
        },
    ),
    "image untagged": ("docker rmi -f strata/start:1", {"image strata/start:1"}),
    "a container too many": (
        f"{STRANGER} --name start-other-1 strata/start:1",
        {"other state"},
    ),
}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def host(sandbox):
    return sandbox.host("l4", persona="docker", ports={free_port(): 8080})


@pytest.fixture(scope="module")
def inputs(host) -> Inputs:
    given = ("address", "port", "user", "host_key", "identity_file", "endpoints")
    return Inputs(**{name: getattr(host, name) for name in given})


class Converge:
    def __init__(self, driver: ComposeDriver) -> None:
        self.driver = driver

    def plan(self, target: Target[Workload, Inputs]) -> Plan:
        return planner.plan(target, self.driver.observe(target), frozenset())

    def __call__(self, target: Target[Workload, Inputs]) -> Plan:
        plan = self.plan(target)
        for change in plan.changes:
            self.driver.apply(target, change)
        assert not self.plan(target)
        return plan


@pytest.fixture
def converge(workspace) -> Iterator[Converge]:
    yield Converge(ComposeDriver(workspace))
    workspace.close()


@pytest.fixture
def target(inputs, target_of) -> Target[Workload, Inputs]:
    made: Target[Workload, Inputs] = target_of(inputs=inputs)
    return made


def page(target: Target[Workload, Inputs]) -> str:
    url = f"http://{target.inputs.endpoints['8080']}/"
    with urllib.request.urlopen(url, timeout=5) as response:
        text: str = response.read().decode()
        return text


def test_from_nothing_to_a_page_that_answers(target, converge):
    (change,) = converge(target).changes
    assert change.action is Action.CREATE
    assert "Welcome home" in page(target)


@pytest.mark.parametrize("name", DRIFTS)
def test_what_is_done_behind_its_back_is_named_and_mended(name, host, target, converge):
    converge(target)
    script, fields = DRIFTS[name]
    host.run(script)
    (change,) = converge(target).changes
    found = {f.field for f in change.fields}
    assert fields <= found <= fields | {"health http :8080/", "web health", "web image"}
    assert "Welcome home" in page(target)


def test_looking_starts_no_stopped_daemon(host, target, converge):
    converge(target)
    host.run("systemctl stop docker.service")  # its socket goes on listening
    (change,) = converge.plan(target).changes
    assert [f.field for f in change.fields] == ["engine"]
    assert host.run("systemctl is-active docker.service || :").strip() == "inactive"
    with pytest.raises(DriverError, match="it is not running"):
        converge(target)
    host.run("systemctl start docker.service")
    converge(target)


def test_without_curl_the_docker_command_does(host, target, converge):
    converge(target)
    host.run("mv /usr/bin/curl /usr/bin/curl.away")
    try:
        assert not converge.plan(target)
        host.run("docker kill start-web-1")
        assert [f.field for f in converge(target).changes[0].fields] == ["web state"]
    finally:
        host.run("mv /usr/bin/curl.away /usr/bin/curl")


def test_a_version_that_does_not_get_well_is_told_with_its_log(
    inputs, converge, load, target_of, tmp_path: Path
):
    broken = "services: {web: {image: 'strata/start:1', command: [busybox, ls, /nowhere]}}"
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "compose.yaml").write_text(broken)
    (part,) = load("start: {compose: start/compose.yaml}", tmp_path)
    whole = target_of(inputs=inputs)
    target = Target(whole.host, part.spec, whole.inputs, "start")
    with pytest.raises(DriverError, match=r"web is exited \(1\)") as caught:
        converge(target)
    assert any("/nowhere: No such file" in line for line in caught.value.lines)
    converge(whole)


def test_what_is_no_longer_declared_goes_and_its_data_stays(
    host, inputs, target, target_of, converge: Callable[[object], Plan]
):
    converge(target)
    host.run(f"echo kept > /srv/start/note.txt; echo mine > {HERE}/mine.txt")
    assert "kept" in page(target)
    (change,) = converge(target_of(inputs=inputs, absent=True)).changes
    assert change.action is Action.DELETE
    assert host.run("docker ps -aq; docker images -q; docker network ls -q -f name=start_") == ""
    assert host.run("cat /srv/start/note.txt") == "kept\n"
    assert host.run(f"ls {HERE}") == "mine.txt\n"
    host.run(f"rm -r {HERE}")
