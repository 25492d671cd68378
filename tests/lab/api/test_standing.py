"""How hosts stand, from a real journal and memory machines."""

import time
from dataclasses import replace

import pytest

from lab import Lab
from lab.api import Standing
from lab.api.durability import captures_of, drill_of
from lab.journal import Journal, Look, holders, locked
from lab.model.declared import Lifecycle
from lab.model.host import Host
from lab.model.outcome import Outcome, PartReport
from lab.model.recovered import CaptureRecord, DrillRecord

DAY = 86_400.0
NOW = 1_700_000_000.0
FILES = {
    "lab.yaml": "name: stand\nproviders:\n  box: {kind: memory}\nvars: {greeting: hello}\n",
    "personas/web.yaml": "image: {base: debian-13}\n"
    "machine: {memory: 1GiB, disks: {root: {size: 8GiB}}}\n"
    "system: {files: {/etc/motd: {template: motd.j2}}}\n"
    "lifecycle: {capture: daily, drill: 30d}\n",
    "personas/web/motd.j2": "{{ vars.greeting }}\n",
    "inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: box}\n"
    "  web2: {persona: web, provider: box, lifecycle: {drill: 7d, rto: 10m}}\n",
}


@pytest.fixture
def root(lab_dir):
    return lab_dir(FILES)


def layers(lab, host="web1"):
    (status,) = (s for s in lab.status() if s.host == host)
    return {s.layer[:2]: s for s in status.layers}


def test_a_change_of_vars_alone_is_pending_where_templates_use_it(root):
    with Lab.load(root) as lab:
        lab.converge()
        assert not lab.status()[0].behind
    (root / "lab.yaml").write_text(FILES["lab.yaml"].replace("hello", "bye"))
    with Lab.load(root) as lab:
        found = {k: s.standing for k, s in layers(lab).items()}
    assert found["l3"] is Standing.PENDING
    assert found["l2"] is Standing.CONVERGED


def test_what_a_verify_saw_is_drift_and_is_gone_once_it_was_mended(root):
    with Lab.load(root) as lab:
        lab.converge()
        state = lab.workspace.state
        journal = Journal(state)
        spec = {r.layer: r.spec for r in journal.last_parts() if r.host == "web1"}["l3_system"]
        at = time.time() + 1
        seen = Look("web1", "l3_system", "", at, "pending", 2, spec, at)
        journal.keep_looks([seen])
        journal.keep_looks([replace(seen, at=at + 60, since=at + 60)])
        found = layers(lab)["l3"]
        assert (found.standing, found.changes, found.since) == (Standing.DRIFTED, 2, at)
        assert lab.status()[0].standing is Standing.DRIFTED
        gone = replace(seen, at=at + 90, outcome="unreachable", changes=0, since=at + 90)
        journal.keep_looks([gone])
        found = layers(lab)["l3"]
        assert (found.standing, found.outcome) == (Standing.UNKNOWN, "unreachable")
        assert found.since == at + 90
        journal.keep_looks([replace(seen, at=at + 120, outcome="unchanged", changes=0)])
        assert layers(lab)["l3"].standing is Standing.CONVERGED
        journal.close()


def test_verify_is_remembered_and_plan_is_not(root):
    with Lab.load(root) as lab:
        lab.plan()
        assert not lab.workspace.state.exists()
        lab.verify()
        found = layers(lab)
        assert (found["l2"].standing, found["l2"].changes) == (Standing.DECLARED, 1)
        assert found["l3"].standing is Standing.DECLARED
        lab.converge()
        first = layers(lab)["l3"].at
        lab.verify()
        again = layers(lab)["l3"]
        assert (again.standing, again.changes) == (Standing.CONVERGED, 0)
        assert again.at > first


def test_since_when_a_part_has_been_failing(tmp_path):
    journal = Journal(tmp_path)
    times = []
    for outcome in (Outcome.FAILED, Outcome.CHANGED, Outcome.UNREACHABLE, Outcome.FAILED):
        journal.end_part("r", PartReport("a", "l2", "", "toy", outcome), "s")
        times.append(journal.last_parts()[0].ended)
    assert journal.bad_since("a", "l2", "") == times[2]
    journal.end_part("r", PartReport("a", "l2", "", "toy", Outcome.UNCHANGED), "s")
    assert journal.bad_since("a", "l2", "") is None
    assert journal.first_seen() == {"a": times[0]}
    journal.close()


def test_the_last_of_every_part_is_found_along_the_index(tmp_path):
    journal = Journal(tmp_path)
    for run in ("r1", "r2", "r3"):
        for host in ("b", "a"):
            for part in ("", "x"):
                report = PartReport(host, "l4", part, "toy", Outcome.CHANGED)
                journal.end_part(run, report, f"{run}{host}{part}")
    found = {(r.host, r.part): (r.run, r.spec) for r in journal.last_parts()}
    assert found == {(h, p): ("r3", f"r3{h}{p}") for h in "ab" for p in ("", "x")}
    journal.close()


def test_the_outcomes_that_the_journal_takes_for_good_are_the_good_ones():
    assert {o.value for o in Outcome if o.is_good} == {"unchanged", "changed", "pending"}


def test_a_host_whose_lock_is_held_is_running_and_looking_takes_no_lock(root):
    with Lab.load(root) as lab:
        folder = lab.workspace.state / "locks"
        assert holders(folder) == {}
        with locked(folder, ["web1"], "converge"):
            assert set(holders(folder)) == {"web1"}
            found = {s.host: s for s in lab.status()}
            assert found["web1"].standing is Standing.RUNNING
            assert found["web1"].running.who.count("@") == 1
            assert found["web2"].running is None
        assert holders(folder) == {}
        left = '{"who": "me@x", "pid": 4194305, "since": 1, "command": "lab"}'
        (folder / "web1.lock").write_text(left)  # no process has that number: killed long ago
        (folder / "web2.lock").write_text("not json")
        assert holders(folder) == {}
        with locked(folder, ["web1"], "converge"):
            pass


def test_a_hosts_own_lifecycle_goes_over_its_personas(root):
    with Lab.load(root) as lab:
        first, second = lab.inventory.hosts.values()
    assert (first.lifecycle.capture, first.lifecycle.drill) == (86_400, 30 * 86_400)
    own = second.lifecycle
    assert (own.capture, own.drill, own.rto) == (86_400, 7 * 86_400, 600)


def host(**lifecycle):
    return Host("a", "web", "box", lifecycle=Lifecycle.model_construct(**lifecycle))


def capture(age, data="pg", flagged="", verified=None):
    return CaptureRecord("a", data, NOW - age, f"s{age}", 3, 1024, "root", flagged, verified)


@pytest.mark.parametrize(
    ("records", "lifecycle", "overdue", "flagged"),
    [
        ([capture(3600)], {"capture": 86_400}, False, ""),
        ([capture(1.05 * DAY)], {"capture": 86_400}, False, ""),
        ([capture(1.2 * DAY)], {"capture": 86_400}, True, ""),
        ([capture(1.2 * DAY)], {}, False, ""),
        ([capture(2 * 3600)], {"capture": 86_400, "rpo": 3600}, True, ""),
        ([capture(60, flagged="empty"), capture(3600)], {"capture": 86_400}, False, "empty"),
        ([capture(60, flagged="empty"), capture(2 * DAY)], {"capture": 86_400}, True, "empty"),
        ([capture(60, flagged="empty")], {"capture": 86_400}, True, "empty"),
    ],
)
def test_a_capture_is_overdue_by_its_last_good_one(records, lifecycle, overdue, flagged):
    (found,) = captures_of(host(**lifecycle), [], records, NOW, NOW - 9 * DAY)
    assert (found.overdue, found.flagged) == (overdue, flagged)


def test_what_was_never_captured_is_due_a_period_after_the_host_was_first_seen(root):
    with Lab.load(root) as lab:
        web = lab.inventory.hosts["web1"]
    assert captures_of(web, ["pg"], [], NOW, None) == ()
    (never,) = captures_of(web, ["pg"], [], NOW, NOW - DAY / 2)
    assert (never.good, never.due, never.overdue) == (None, NOW + DAY / 2, False)
    assert captures_of(web, ["pg"], [], NOW, NOW - 2 * DAY)[0].overdue
    assert drill_of(web, [], NOW, None) is None
    assert drill_of(web, [], NOW, NOW - DAY).due == NOW + 29 * DAY
    assert drill_of(web, [], NOW, NOW - 40 * DAY).overdue


def test_a_drill_that_proved_nothing_does_not_count_as_one():
    bad = DrillRecord("a", NOW - DAY, proved=False, rto=None, rpo=5.0, missing=2)
    good = DrillRecord("a", NOW - 40 * DAY, proved=True, rto=700.0, rpo=5.0, missing=0)
    found = drill_of(host(drill=30 * 86_400, rto=600), [bad, good], NOW, None)
    assert (found.proved, found.overdue, found.slow) == (False, True, False)
    assert found.proved_at == good.at
    found = drill_of(host(drill=60 * 86_400, rto=600), [good], NOW, None)
    assert (found.proved, found.overdue, found.slow) == (True, False, True)
