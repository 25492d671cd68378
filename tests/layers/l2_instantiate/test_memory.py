from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.layer import Workspace
from layers.l2_instantiate import planner
from layers.l2_instantiate.drivers.memory import MemoryDriver
from layers.l2_instantiate.machines import ROOT
from layers.l2_instantiate.spec import Observed, ObservedDisk

GIB = 1024**3
NAMES = st.sampled_from(["data", "logs", "scratch"])


@pytest.fixture
def remembered(workspace: Workspace, make_host: Any) -> Any:
    return make_host(workspace, MemoryDriver(workspace))


def test_a_life(remembered: Any) -> None:
    assert remembered.converge() == ["create disk data", "create machine"]
    assert remembered.converge() == []
    remembered.declare(memory="2GiB", disks={"data": {"size": "2GiB"}, "logs": {"size": "1GiB"}})
    assert remembered.converge() == ["update disk data", "create disk logs", "update machine"]
    remembered.inputs = remembered.inputs.model_copy(update={"template_name": "debian-13-bbbb"})
    assert remembered.converge() == ["replace machine"]
    assert remembered.converge(absent=True) == ["delete machine", "delete disk logs"]
    assert remembered.converge() == ["create disk logs", "create machine"]
    everything = ["delete machine", "delete disk data", "delete disk logs"]
    assert remembered.converge(absent=True, with_data=True) == everything
    assert remembered.driver.observe(remembered.target()) is None


disks = st.dictionaries(
    NAMES, st.builds(ObservedDisk, size=st.just(GIB), used=st.just(0), durable=st.booleans())
)


@st.composite
def observations(draw: st.DrawFn) -> Observed:
    found = draw(disks)
    if draw(st.booleans()):
        found[ROOT] = ObservedDisk(size=GIB)
    return Observed(
        exists=ROOT in found or draw(st.booleans()),
        power=draw(st.sampled_from(["running", "stopped", "paused"])),
        answers=draw(st.booleans()),
        accelerator=draw(st.sampled_from(["kvm", "tcg"])),
        template_name=draw(st.sampled_from(["", "debian-13-aaaa", "debian-13-bbbb"])),
        cpu=draw(st.integers(1, 4)),
        memory=draw(st.sampled_from([GIB, 2 * GIB])),
        disks=found,
        attached=tuple(sorted(draw(st.sets(NAMES)))),
        root_at_boot=draw(st.sampled_from([GIB // 2, GIB])),
        ports=draw(st.sampled_from([(), ("127.0.0.1:1:1/tcp",)])),
        user=draw(st.sampled_from(["strata", "me"])),
        host_key=draw(st.sampled_from([None, "ssh-ed25519 AAAA"])),
        identity_file=draw(st.sampled_from([None, ""])),
    )


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(found=observations(), extra=st.sets(NAMES), absent=st.booleans())
def test_whatever_is_found_one_converge_is_enough(
    *, found: Observed, extra: set[str], absent: bool, workspace: Workspace, make_host: Any
) -> None:
    host = make_host(workspace, MemoryDriver(workspace))
    host.machine["disks"] = {ROOT: {"size": "1GiB"}} | {n: {"size": "1GiB"} for n in extra}
    host.driver._store.put("l2_instantiate", host.name, found.model_dump(mode="json"))
    host.converge(absent=absent)
    if not absent:
        after = host.driver.observe(host.target())
        kept = {n for n, d in found.disks.items() if d.durable}
        assert kept <= set(after.disks)
        assert planner.predict(host.target(), after, host.plan()).above == "as is"
