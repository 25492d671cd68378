"""What every driver of every layer must hold, and a lab to hold it on."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.abilities import Batching
from lab.layer import Target
from lab.model.plan import Plan


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its content."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.is_symlink()
    }


@dataclass
class Subject:
    """One driver with a target to try it on."""

    layer: object
    driver: object
    target: Target
    world: Path

    def plan(self) -> Plan:
        observed = self.driver.observe(self.target)
        return self.layer.plan(self.target, observed, self.driver.replace_on)

    def apply(self, plan: Plan) -> None:
        if isinstance(self.driver, Batching):
            done = []
            self.driver.apply_batch(self.target, plan.changes, lambda c: None, done.append)
            assert done == list(plan.changes)
            return
        for change in plan.changes:
            self.driver.apply(self.target, change)


@pytest.fixture
def make_subject():
    return Subject


@pytest.fixture
def hold():
    """The contract; returns the outputs that the layer hands up."""

    def check(subject: Subject):
        before = fingerprint(subject.world)
        first = subject.plan()
        assert fingerprint(subject.world) == before, "observing changed something"
        assert subject.plan() == first, "observing twice is not the same"
        assert not first.blockers
        subject.apply(first)
        assert not subject.plan(), "after applying, the plan is not empty"
        settled = fingerprint(subject.world)
        assert not subject.plan(), "a second plan is not empty"
        assert fingerprint(subject.world) == settled, "observing changed something"
        subject.apply(first)  # as after a crash that came just before the record was written
        assert not subject.plan(), "applying again is not safe"
        observed = subject.driver.observe(subject.target)
        return subject.layer.outputs(subject.target, observed)

    return check


@pytest.fixture
def memory_lab(repository, tmp_path):
    """The example lab, its machines in memory."""
    root = tmp_path / "lab"
    root.mkdir()
    shutil.copytree(repository / "personas", root / "personas")
    shutil.copytree(repository / "inventory", root / "inventory")
    (root / "lab.yaml").write_text(
        "name: contracts\nproviders:\n  box: {kind: memory}\nvars: {motd_owner: x}\n"
    )
    return root
