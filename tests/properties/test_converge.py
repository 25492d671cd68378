"""Any persona, any state that another persona left: one converge, then an empty plan."""

import json
import os
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from lab import Approval, Lab
from lab.model.outcome import ExitCode, Outcome

MIB = 1024**2
names = st.sampled_from(["ann", "bob", "eve"])
paths = st.sampled_from(["/etc/x", "/srv/y", "/opt/z z", "/etc/a'b"])
text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
modes = st.sampled_from(["0644", "0600", "0755"])
sizes = st.integers(1, 9).map(lambda n: f"{n}GiB")

systems = st.fixed_dictionaries(
    {},
    optional={
        "users": st.dictionaries(
            names,
            st.fixed_dictionaries(
                {},
                optional={
                    "shell": st.sampled_from(["/bin/sh", "/bin/bash"]),
                    "comment": st.sampled_from(["A", "B b"]),
                },
            ),
            max_size=2,
        ),
        "groups": st.dictionaries(st.sampled_from(["g1", "g2"]), st.just({}), max_size=2),
        "packages": st.lists(st.sampled_from(["curl", "htop", "git"]), unique=True, max_size=3),
        "files": st.dictionaries(
            paths, st.fixed_dictionaries({"content": text, "mode": modes}), max_size=3
        ),
        "directories": st.dictionaries(
            st.sampled_from(["/srv/d1", "/srv/d2"]), st.fixed_dictionaries({"mode": modes})
        ),
        "sysctl": st.dictionaries(
            st.sampled_from(["vm.swappiness", "net.ipv4.ip_forward"]), st.integers(0, 1)
        ),
        "services": st.dictionaries(
            st.sampled_from(["cron", "exim4"]), st.sampled_from(["running", "stopped"])
        ),
    },
)
disks = st.fixed_dictionaries(
    {"root": sizes.map(lambda s: {"size": s})},
    optional={
        "data": sizes.map(lambda s: {"size": s, "durable": True, "mount": "/srv"}),
        "scratch": sizes.map(lambda s: {"size": s}),
    },
)
machines = st.fixed_dictionaries(
    {"cpu": st.integers(1, 4), "memory": st.integers(256, 4096).map(lambda n: f"{n}MiB")},
    optional={"disks": disks, "ports": st.dictionaries(st.sampled_from(["8080"]), st.just(80))},
).map(lambda m: {**m, "disks": m.get("disks", {"root": {"size": "8GiB"}})})
personas = st.fixed_dictionaries(
    {
        "image": st.fixed_dictionaries(
            {"base": st.sampled_from(["debian-12", "debian-13"])},
            optional={"packages": st.lists(st.sampled_from(["curl", "git"]), unique=True)},
        ),
        "machine": machines,
    },
    optional={"system": systems},
)


def write(root: Path, persona: dict) -> None:
    """JSON is YAML."""
    for name, value in {
        "lab.yaml": {"name": "property", "providers": {"box": {"kind": "memory"}}},
        "personas/p.yaml": persona,
        "inventory/hosts.yaml": {"hosts": {"h": {"persona": "p", "provider": "box"}}},
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(value, ensure_ascii=False))


@settings(max_examples=60, deadline=None)
@given(st.lists(personas, min_size=1, max_size=3))
def test_one_converge_then_an_empty_plan(history):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with mock.patch.dict(os.environ, {"XDG_STATE_HOME": f"{folder}/state"}):
            for persona in history:
                write(root, persona)
                with Lab.load(root) as lab:
                    converged_or_refused(lab)


def converged_or_refused(lab: Lab) -> None:
    allowed = Approval(allow_destroy=True, confirmed=frozenset({"h"}))
    planned = lab.plan()
    before = lab.plan()
    assert [p.plan for p in before.parts] == [p.plan for p in planned.parts]
    report = lab.converge(approval=allowed)
    if any(p.plan.blockers for p in report.parts):  # a disk that would have to shrink
        assert report.exit_code is ExitCode.REFUSED
        return
    assert report.exit_code is ExitCode.OK, [p.failure for p in report.parts]
    again = lab.plan()
    assert (again.exit_code, again.changes) == (ExitCode.OK, 0)
    assert lab.converge().count(Outcome.CHANGED) == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(personas, min_size=2, max_size=2))
def test_without_leave_no_durable_disk_is_ever_lost(history):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with mock.patch.dict(os.environ, {"XDG_STATE_HOME": f"{folder}/state"}):
            durable = set()
            for persona in history:
                write(root, persona)
                with Lab.load(root) as lab:
                    report = lab.converge()
                    lost = [
                        c
                        for p in report.parts
                        for c in p.plan.changes
                        if c.destroys and f"{c.action.value} {c.what}" in p.applied
                    ]
                    assert lost == []
                    kept = lab.plan_destroy(with_data=True)
                    disks = {
                        c.what
                        for p in kept.parts
                        for c in p.plan.changes
                        if c.what.startswith("disk ")
                    }
                    assert durable <= disks
                    if report.exit_code is ExitCode.OK:
                        durable |= {
                            f"disk {n}"
                            for n, d in persona["machine"]["disks"].items()
                            if d.get("durable")
                        }
