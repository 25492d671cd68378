"""A small lab with one host, to plan for and to converge without the engine."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.layer import Driver, Target, Workspace
from lab.model.host import Host
from lab.model.plan import Plan
from layers.l2_instantiate import planner
from layers.l2_instantiate.spec import Document, Inputs, Observed

BASE: dict[str, Any] = {
    "cpu": 2,
    "memory": "1GiB",
    "disks": {"root": {"size": "6GiB"}, "data": {"size": "1GiB", "durable": True}},
    "ports": {18080: 8080},
}


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(base)
    for key, value in over.items():
        if value == "(none)":
            del result[key]
        elif isinstance(value, dict) and isinstance(result.get(key), dict) and key != "ports":
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


class OneHost:
    """One host's machine: declared as ``BASE`` with changes, converged change by change."""

    def __init__(self, workspace: Workspace, driver: Driver[Any, Any, Observed] | None) -> None:
        self.workspace = workspace
        self.driver = driver
        self.machine = copy.deepcopy(BASE)
        self.provider: dict[str, Any] = {"kind": "qemu", "name": "box"}
        self.inputs = Inputs(accelerator="tcg", template=None, template_name="debian-13-aaaa")
        self.name = "web1"
        self.said: list[str] = []

    def target(self, **flags: Any) -> Target[Any, Any]:
        document = Document.model_validate({"provider": self.provider, "machine": self.machine})
        (part,) = planner.parts(document)
        host = Host(self.name, "web", "box")
        report: Callable[..., None] = lambda doing, *_: self.said.append(doing)  # noqa: E731
        return Target(host, part.spec, self.inputs, report=report, **flags)

    def declare(self, **over: Any) -> None:
        self.machine = merged(self.machine, over)

    def plan(self, **flags: Any) -> Plan:
        assert self.driver is not None
        target = self.target(**flags)
        return planner.plan(target, self.driver.observe(target), self.driver.replace_on)

    def converge(self, **flags: Any) -> list[str]:
        """What the engine does: plan, apply, and the second plan must be empty."""
        assert self.driver is not None
        plan = self.plan(**flags)
        assert not plan.blockers, plan.blockers
        for change in plan.changes:
            self.driver.apply(self.target(**flags), change)
        assert not self.plan(**flags), self.plan(**flags)
        return [f"{c.action} {c.what}" for c in plan.changes]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with_socket = tmp_path / "r"
    made = Workspace(
        "demo", tmp_path, tmp_path / "state", tmp_path / "cache", with_socket, threading.Event()
    )
    yield made
    made.close()


@pytest.fixture
def one_host(workspace: Workspace) -> OneHost:
    return OneHost(workspace, None)


@pytest.fixture(scope="session")
def make_host() -> Callable[[Workspace, Any], OneHost]:
    return OneHost
