"""For any declaration: what is desired needs nothing, and one converge makes the plan empty."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.layer import Target, Workspace
from lab.model.host import Host
from layers.l3_system import planner
from layers.l3_system.drivers.memory import MemoryDriver
from layers.l3_system.spec import Document, Inputs

names = st.from_regex(r"\A[a-z][a-z0-9]{1,5}\Z")
paths = names.map(lambda n: f"/srv/{n}")
system = st.fixed_dictionaries(
    {},
    optional={
        "packages": st.lists(names, max_size=3, unique=True),
        "users": st.dictionaries(
            names,
            st.fixed_dictionaries({}, optional={"groups": st.lists(names, max_size=2)}),
            max_size=2,
        ),
        "groups": st.dictionaries(names, st.none(), max_size=2),
        "files": st.dictionaries(
            paths,
            st.fixed_dictionaries(
                {"content": st.text(max_size=20)}, optional={"mode": st.just("0600")}
            ),
            max_size=2,
        ),
        "directories": st.dictionaries(paths, st.none(), max_size=2),
        "services": st.dictionaries(
            names, st.sampled_from(["running", "stopped", {"masked": True}]), max_size=2
        ),
        "links": st.dictionaries(paths, paths, max_size=2),
        "absent": st.lists(paths, max_size=2, unique=True),
        "lines": st.dictionaries(
            paths, st.dictionaries(names, names, min_size=1, max_size=1), max_size=2
        ),
        "blocks": st.dictionaries(
            paths,
            st.dictionaries(names, st.fixed_dictionaries({"content": st.text(max_size=9)})),
            max_size=2,
        ),
        "units": st.dictionaries(
            names.map(lambda n: f"u-{n}.service"),
            st.fixed_dictionaries({"content": st.text(max_size=9)}),
            max_size=2,
        ),
        "timers": st.dictionaries(
            names.map(lambda n: f"t-{n}"),
            st.just({"command": "true", "on_calendar": "daily"}),
            max_size=2,
        ),
        "cron": st.dictionaries(
            names.map(lambda n: f"c-{n}"), st.just("@daily root true"), max_size=2
        ),
        "timezone": st.just("UTC"),
        "locale": st.sampled_from(["en_US.UTF-8", "C.UTF-8"]),
        "swap": st.dictionaries(paths, st.sampled_from(["1GiB", "2MiB"]), max_size=2),
        "kernel_modules": st.dictionaries(names, st.just({"x": 1}), max_size=2),
        "sysctl": st.dictionaries(names.map(lambda n: f"vm.{n}"), st.integers(0, 9), max_size=2),
        "mounts": st.dictionaries(paths, st.just({"source": "x"}), max_size=2),
    },
)
disks = st.dictionaries(names, paths.map(lambda p: {"mount": p}), max_size=2)


def _target(declared, mounts) -> Target:
    document = {"system": declared, "machine": {"disks": mounts}}
    (part,) = planner.parts(Document.model_validate(document))
    return Target(Host("web1", "web", "box"), part.spec, Inputs())


@given(system, disks)
def test_what_is_desired_needs_nothing(declared, mounts):
    target = _target(declared, mounts)
    assert not planner.plan(target, planner.desired(target), frozenset())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(system, disks), min_size=1, max_size=3))
def test_from_any_declaration_to_any_other_in_one_converge(history):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        driver = MemoryDriver(Workspace("t", root, root, root, root))
        for declared, mounts in history:
            target = _target(declared, mounts)
            plan = planner.plan(target, driver.observe(target), frozenset())
            assert not plan.blockers
            for change in plan.changes:
                driver.apply(target, change)
            assert not planner.plan(target, driver.observe(target), frozenset())
