"""A real host for a module's tests, and a lab that declares one thing after the other about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab.layer import Target, Workspace
from lab.model.host import Host
from lab.model.plan import Plan
from layers.l3_system import planner
from layers.l3_system.drivers.native import NativeDriver
from layers.l3_system.spec import Document, Inputs


class Machine:
    """A host, and a lab that declares one thing after the other about it."""

    def __init__(self, host: Any, driver: NativeDriver) -> None:
        self.host, self.driver = host, driver
        self.inputs = Inputs(
            address=host.address,
            port=host.port,
            user=host.user,
            host_key=host.host_key,
            identity_file=str(host.identity_file),
        )

    def target(self, system: dict[str, Any]) -> Target[Any, Any]:
        (part,) = planner.parts(Document.model_validate({"system": system}))
        return Target(Host("real", "web", "box"), part.spec, self.inputs)

    def plan(self, system: dict[str, Any]) -> Plan:
        target = self.target(system)
        return planner.plan(target, self.driver.observe(target), frozenset())

    def apply(self, system: dict[str, Any], plan: Plan) -> None:
        target = self.target(system)
        self.driver.apply_batch(target, plan.changes, lambda _: None, lambda _: None)

    def converge(self, system: dict[str, Any]) -> list[str]:
        """Apply; the second plan must be empty. Gives what was done."""
        plan = self.plan(system)
        assert not plan.blockers
        self.apply(system, plan)
        again = self.plan(system)
        assert not again, again
        return [f"{c.action.sign} {c.what}" for c in plan.changes]

    def run(self, script: str) -> str:
        return str(self.host.run(script)).strip()


@pytest.fixture(scope="module")
def host(sandbox) -> Any:
    host = sandbox.host("l3-files")
    host.run("mkdir -p -m 700 /var/lib/strata; : >>/var/lib/strata/owned")
    return host


@pytest.fixture
def machine(host, tmp_path) -> Iterator[Machine]:
    workspace = Workspace("t", tmp_path, tmp_path / "s", tmp_path / "c", tmp_path / "r")
    machine = Machine(host, NativeDriver(workspace))
    machine.converge({})
    yield machine
    machine.converge({})
    assert machine.run("cat /var/lib/strata/owned") == ""
    leftovers = "find / -xdev -name '*.strata-new' ! -path '/proc/*'; find /var/lib/strata -type f"
    assert machine.run(leftovers).splitlines() == ["/var/lib/strata/owned"]
    workspace.close()
