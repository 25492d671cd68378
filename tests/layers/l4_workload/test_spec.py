import pytest
from pydantic import ValidationError

from lab.model.files import LabFile
from lab.model.host import Host
from layers.l4_workload import LAYER
from layers.l4_workload.composition import read

HOST = Host("web1", "web", "box")

WRONG = [
    ("Start: {compose: start/compose.yaml}", "cannot be a workload's name"),
    ("start: {compose: start/compose.yaml, healthy: 1}", "Extra inputs are not permitted"),
    ("start: {compose: start/compose.yaml, data: [srv]}", "not an absolute path"),
    ("start: {compose: start/compose.yaml, data: [/srv/../etc]}", "not an absolute path"),
    ("start: {compose: start/compose.yaml, health: {}}", "exactly one of http"),
    ("start: {compose: start/compose.yaml, health: {http: ':0/'}}", "not a port"),
    ("start: {compose: start/compose.yaml, health: {http: 'http://x/'}}", "not a port"),
    ("start: {compose: start/compose.yaml, health: {tcp: ':99999'}}", "not a port"),
    ("start: {compose: start/compose.yaml, health: {tcp: ':1', contains: x}}", "needs http"),
    ("start: {compose: start/compose.yaml, images: {x: {packages: [a2]}}}", "with its tag"),
    ("start: {compose: start/compose.yaml, images: {'x:1': {}}}", "would be empty"),
    ("start: {compose: start/compose.yaml, images: {'x:1': {packages: ['a;b']}}}", "pattern"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[m for _, m in WRONG])
def test_mistakes_are_told_in_plain_words(text, message, load):
    with pytest.raises(ValidationError, match=message):
        load(text)


def test_numbers_and_truths_become_the_text_that_a_program_sees(load):
    (part,) = load("start: {compose: start/compose.yaml, variables: {A: 1, B: true, C: x}}")
    assert part.spec.variables == {"A": "1", "B": "true", "C": "x"}


def problems(tmp_path, load, compose: str, more: str = "") -> dict[str, str]:
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "compose.yaml").write_text(compose)
    (part,) = load(f"start: {{compose: start/compose.yaml{more}}}", tmp_path)
    return {".".join(map(str, path)): text for path, text in LAYER.check(HOST, part)}


def test_the_demo_has_no_problems(load, workloads):
    (part,) = load(workloads)
    assert LAYER.check(HOST, part) == ()


@pytest.mark.parametrize(
    ("compose", "message"),
    [
        ("services: [", "is not YAML at line"),
        ("- a", "has no services"),
        ("services: {}", "has no services"),
        ("services: {web: nginx}", "the service web is not a mapping"),
        ("services: {web: &a [*a]}", "not a mapping"),
    ],
)
def test_a_compose_file_that_is_none_is_pointed_at(tmp_path, load, compose, message):
    found = problems(tmp_path, load, compose)
    assert list(found) == ["workloads.start.compose"]
    assert message in found["workloads.start.compose"]


def test_an_image_that_no_service_uses_is_a_mistake(tmp_path, load):
    more = ", images: {'home/strat:1': {packages: [busybox-static]}}"
    found = problems(tmp_path, load, "services: {web: {image: home/start:1}}", more)
    assert "they use: home/start:1" in found["workloads.start.images.home/strat:1"]


def test_a_health_check_of_a_port_that_nobody_publishes_is_a_mistake(tmp_path, load):
    compose = "services: {web: {image: a, ports: ['127.0.0.1:8081:80/tcp', {published: 82}]}}"
    found = problems(tmp_path, load, compose, ", health: {http: ':8080/'}")
    assert "they publish: 82, 8081" in found["workloads.start.health.http"]


@pytest.mark.parametrize(
    "service", ["{ports: ['${PORT}:80']}", "{network_mode: host}", "{extends: {service: x}}"]
)
def test_what_only_compose_can_know_is_not_judged(tmp_path, load, service):
    compose = f"services: {{web: {service}}}"
    assert problems(tmp_path, load, compose, ", health: {http: ':8080/'}") == {}


def test_the_tags_of_compose_itself_are_no_mistake():
    file = LabFile("c", b"services: {web: {ports: !override ['8080:80'], image: !reset null}}")
    assert read(file).services[0].ports == (8080,)


def test_aliases_of_aliases_cost_nothing():
    rows = [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]" for i in range(1, 40)]
    text = "x0: &x0 [a]\n" + "\n".join(rows) + "\nservices: {web: {image: a}}"
    assert read(LabFile("c", text.encode())).services[0].image == "a"
