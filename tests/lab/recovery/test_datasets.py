"""What personas say about data: one path belongs to one set, and mistakes have their line."""

import shutil
import subprocess

import pytest

from lab import Lab
from lab.cli.scheduling import calendar
from lab.config.datasets import data_sets
from lab.errors import ConfigError

LAB = "name: x\nproviders: {box: {kind: memory}}\n"
HOSTS = "hosts: {a: {persona: p, provider: box}}\n"
BASE = (
    "image: {base: debian-13}\nmachine: {memory: 1GiB, disks: {root: {size: 8GiB}}}\nsystem: none\n"
)


@pytest.fixture
def loaded(lab_dir):
    def load(persona, hosts=HOSTS):
        root = lab_dir(
            {
                "lab.yaml": LAB,
                "personas/p.yaml": BASE + persona,
                "personas/p/c.yaml": "services: {a: {image: 'x:1', volumes: ['/srv/a:/a']}}\n",
                "inventory/hosts.yaml": hosts,
            }
        )
        return Lab.load(root)

    return load


@pytest.fixture
def problems(loaded):
    def tell(persona):
        try:
            with loaded(persona):
                return []
        except ConfigError as error:
            return [str(p) for p in error.problems]

    return tell


WORKLOAD = "workloads: {w: {compose: p/c.yaml, data: [/srv/a]}}\n"


def test_the_sets_of_workloads_and_of_the_persona(loaded):
    with loaded(WORKLOAD + "data: {photos: {paths: [/srv/p/in, /srv/p, /srv/q/]}}\n") as lab:
        first, second = data_sets(lab.inventory.hosts["a"], lab.layers)
    assert (first.name, first.paths) == ("photos", ("/srv/p", "/srv/q"))
    assert (second.name, second.paths, second.workload) == ("w", ("/srv/a",), "w")
    assert second.folder.endswith("/w")


def test_a_host_says_its_own(loaded):
    mine = (
        "hosts: {a: {persona: p, provider: box, data: {b: {paths: [/b]}}, lifecycle: {rpo: 2h}}}\n"
    )
    with loaded("data: {c: {paths: [/c]}}\nlifecycle: {capture: daily}\n", mine) as lab:
        host = lab.inventory.hosts["a"]
        assert [s.name for s in data_sets(host, lab.layers)] == ["b", "c"]
        assert (host.lifecycle.capture, host.lifecycle.rpo) == (86400, 7200)


@pytest.mark.parametrize(
    ("persona", "what"),
    [
        ("data: {x: {paths: [/srv]}}\n" + WORKLOAD, "/srv/a of w lies in /srv of x"),
        ("data: {w: {paths: [/other]}}\n" + WORKLOAD, "two sets of data are called 'w'"),
        ("data: {identity: {paths: [/x]}}\n", "'identity' is the lab's own"),
        ("data: {x: {paths: [/x], exclude: [/y]}}\n", "/y is left out of x, and is not in it"),
        ("data: {x: {paths: [relative]}}\n", "'relative' is not an absolute path"),
        ("data: {x: {}}\n", "there is nothing to capture"),
        ("data: {x: {dump: 'echo'}}\n", "dump and restore go together"),
    ],
)
def test_mistakes_are_told_with_their_line(problems, persona, what):
    (problem,) = problems(persona)
    assert what in problem
    assert problem.startswith("personas/p.yaml:")


@pytest.mark.parametrize("every", [300, 3600, 6 * 3600, 86400, 3 * 86400, 7 * 86400, 30 * 86400])
def test_timers_are_as_often_as_asked(every):
    when, spread = calendar(every, "web1")
    assert spread < every
    if shutil.which("systemd-analyze") is not None:
        done = subprocess.run(
            ["systemd-analyze", "calendar", when], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
