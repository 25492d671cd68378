"""The engine over two toy layers: order, verification, guards, ledger, interruption."""

import threading
from dataclasses import replace

import pytest

from lab import events
from lab.engine import Approval
from lab.engine.protocol import Options
from lab.errors import DriverError, Locked, Reverted, TransportError
from lab.model.outcome import ExitCode, Outcome
from lab.model.plan import Plan

ALL = Options(stop=1)


def outcomes(report):
    return {(p.host, p.layer, p.part): p.outcome.value for p in report.parts}


def test_a_fresh_host_is_planned_over_all_layers_before_it_exists(make_engine, make_host, world):
    report = make_engine(make_host()).plan([make_host()], ALL)
    assert [(p.layer, p.plan.predicted) for p in report.parts] == [
        ("l1_ground", False),
        ("l2_top", True),
    ]
    assert report.exit_code is ExitCode.PENDING
    assert world.things == {}


def test_a_plan_writes_nothing(make_engine, make_host, tmp_path):
    make_engine(make_host()).plan([make_host()], ALL)
    assert list(tmp_path.iterdir()) == []


def test_converge_then_again_changes_nothing(make_engine, make_host, world):
    engine, host = make_engine(make_host()), make_host()
    first = engine.converge([host], ALL, Approval())
    second = engine.converge([host], ALL, Approval())
    assert (first.exit_code, first.count(Outcome.CHANGED)) == (ExitCode.OK, 2)
    assert (second.exit_code, second.count(Outcome.UNCHANGED)) == (ExitCode.OK, 2)
    assert len(world.applied) == 2
    assert second.handed["a"] == {"ground": 1, "top": 1}


def test_applied_without_effect_is_not_converged(make_engine, make_host, world):
    world.ignores.add(("l1_ground", "a", ""))
    report = make_engine(make_host()).converge([make_host()], ALL, Approval())
    assert outcomes(report) == {
        ("a", "l1_ground", ""): "failed",
        ("a", "l2_top", "x"): "blocked",
    }
    assert report.parts[0].failure.kind == "NotConverged"
    assert report.exit_code is ExitCode.FAILED


def test_a_failed_host_blocks_only_what_waits_for_it(make_engine, make_host, world):
    world.raises[("apply", "l1_ground", "a")] = DriverError("no")
    hosts = [make_host("a"), make_host("b", after=("a",)), make_host("c")]
    report = make_engine(*hosts).converge(hosts, ALL, Approval())
    by_host = {p.host: p.outcome.value for p in report.parts if p.layer == "l2_top"}
    assert by_host == {"a": "blocked", "b": "blocked", "c": "changed"}
    assert ("b", "l1_ground", "thing ") not in world.applied


def test_a_change_that_reverted_itself_says_so_and_is_not_counted(make_engine, make_host, world):
    world.raises[("apply", "l1_ground", "a")] = Reverted("it cut us off")
    engine = make_engine(make_host())
    report = engine.converge([make_host()], ALL, Approval())
    assert outcomes(report) == {("a", "l1_ground", ""): "reverted", ("a", "l2_top", "x"): "blocked"}
    assert report.exit_code is ExitCode.REVERTED
    assert report.parts[0].applied == ()
    assert [(r.layer, r.outcome) for r in engine.journal.last_parts()][:1] == [
        ("l1_ground", "reverted")
    ]


def test_an_offline_host_is_left_behind_and_says_so(make_engine, make_host, world):
    world.raises[("observe", "l2_top", "a")] = TransportError("no route")
    report = make_engine(make_host()).converge([make_host()], ALL, Approval())
    assert outcomes(report)[("a", "l2_top", "x")] == "unreachable"
    assert report.exit_code is ExitCode.UNREACHABLE


def test_a_blocker_applies_nothing(make_engine, make_host, world):
    host = make_host(blocked=True)
    report = make_engine(host).converge([host], ALL, Approval())
    assert report.exit_code is ExitCode.REFUSED
    assert world.applied == []


@pytest.mark.parametrize(
    ("approval", "protect", "kind"),
    [
        (Approval(), False, "Destructive"),
        (Approval(allow_destroy=True), False, "Destructive"),
        (Approval(allow_destroy=True, confirmed=frozenset({"b"})), False, "Destructive"),
        (Approval(allow_destroy=True, confirmed=frozenset({"a"})), True, "Protected"),
        (Approval(allow_destroy=True, confirmed=frozenset({"a"})), False, None),
    ],
)
def test_nothing_is_destroyed_by_implication(
    make_engine, make_host, world, approval, protect, kind
):
    world.things[("l1_ground", "a", "")] = 5
    host = make_host(protect=protect)
    report = make_engine(host).converge([host], ALL, approval)
    failure = report.parts[0].failure
    assert (failure.kind if failure else None) == kind
    assert world.things[("l1_ground", "a", "")] == (1 if kind is None else 5)
    assert report.exit_code is (ExitCode.OK if kind is None else ExitCode.REFUSED)


def test_an_approved_plan_is_applied_exactly_or_refused(make_engine, make_host, world):
    host = make_host()
    engine = make_engine(host)
    planned = engine.plan([host], ALL)
    only = {(p.host, p.layer, p.part): p.plan for p in planned.parts}
    world.things[("l1_ground", "a", "")] = 0
    report = engine.converge([host], ALL, Approval(only=only))
    assert report.parts[0].failure.kind == "Stale"
    assert world.applied == []
    world.things.clear()
    assert engine.converge([host], ALL, Approval(only=only)).exit_code is ExitCode.OK


def test_a_change_that_vanished_from_an_approved_plan_is_stale_too(make_engine, make_host, world):
    host = make_host()
    engine = make_engine(host)
    only = {(p.host, p.layer, p.part): p.plan for p in engine.plan([host], ALL).parts}
    world.things[("l1_ground", "a", "")] = 1
    assert engine.converge([host], ALL, Approval(only=only)).parts[0].failure.kind == "Stale"


def test_a_layer_alone_refuses_what_below_is_pending_and_says_through(make_engine, make_host):
    host = make_host()
    engine = make_engine(host)
    report = engine.converge([host], Options(stop=1, through=False), Approval())
    assert report.parts[0].outcome is Outcome.BLOCKED
    assert "--through" in report.parts[0].failure.hint
    assert engine.converge([host], ALL, Approval()).exit_code is ExitCode.OK
    assert engine.converge([host], Options(stop=1, through=False), Approval()).changes == 0


def test_a_part_no_longer_declared_is_pruned_and_leaves_the_ledger(make_engine, make_host, world):
    both, one = make_host(top=(("x", 1), ("y", 1))), make_host()
    engine = make_engine(both)
    engine.converge([both], ALL, Approval())
    assert {o.part for o in engine.journal.ledger()} == {"", "x", "y"}
    allowed = Approval(allow_destroy=True, confirmed=frozenset({"a"}))
    planned = engine.plan([one], ALL)
    assert [c.what for p in planned.parts for c in p.plan.changes] == ["thing y"]
    assert engine.converge([one], ALL, allowed).exit_code is ExitCode.OK
    assert {o.part for o in engine.journal.ledger()} == {"", "x"}
    assert engine.plan([one], ALL).changes == 0


def test_a_thing_that_did_not_go_stays_in_the_ledger(make_engine, make_host, world):
    both, one = make_host(top=(("x", 1), ("y", 1))), make_host()
    engine = make_engine(both)
    engine.converge([both], ALL, Approval())
    world.ignores.add(("l2_top", "a", "y"))
    engine.converge([one], ALL, Approval(allow_destroy=True, confirmed=frozenset({"a"})))
    assert "y" in {o.part for o in engine.journal.ledger()}


def test_a_shared_thing_is_made_once_and_counted_once(make_engine, make_host, world):
    hosts = [make_host(n, shared="t") for n in "abc"]
    engine = make_engine(*hosts)
    planned = engine.plan(hosts, Options(stop=0))
    assert [len(p.plan.changes) for p in planned.parts] == [1, 0, 0]


def test_an_approved_plan_holds_whichever_host_makes_the_shared_thing(
    make_engine, make_host, world, layers, monkeypatch
):
    pooled = type(layers[0].drivers["toy"](None))

    def made_for_all(self, target, change):
        world.things.update({("l1_ground", host, ""): target.spec.value for host in "ab"})

    monkeypatch.setattr(pooled, "apply", made_for_all)
    hosts = make_host("a", shared="t", after=("b",)), make_host("b", shared="t")
    engine = make_engine(*hosts)
    approved = plans(engine.plan(hosts, ALL))
    assert [key[0] for key, p in approved.items() if key[1] == "l1_ground" and p.changes] == ["a"]
    done = engine.converge(hosts, ALL, Approval(only=approved))
    assert done.exit_code is ExitCode.OK, [p.failure for p in done.parts]


def test_unused_shared_things_are_planned_and_pruned(make_engine, make_host, world):
    world.things["pool"] = ["t", "old"]
    host = make_host(shared="t")
    engine = make_engine(host)
    planned = engine.plan([host], ALL)
    assert [c.what for p in planned.parts if not p.host for c in p.plan.changes] == ["thing old"]
    engine.converge([host], ALL, Approval())
    assert world.things["pool"] == ["t"]


def test_an_approved_plan_prunes_only_what_it_names(make_engine, make_host, world):
    world.things["pool"] = ["t", "old"]
    host = make_host(shared="t")
    engine = make_engine(host)
    only = {(p.host, p.layer, p.part): p.plan for p in engine.plan([host], ALL).parts}
    world.things["pool"].append("newer")
    engine.converge([host], ALL, Approval(only=only))
    assert world.things["pool"] == ["t", "newer"]


def test_destroy_goes_from_above_and_only_when_allowed(make_engine, make_host, world):
    host = make_host()
    engine = make_engine(host)
    engine.converge([host], ALL, Approval())
    assert engine.destroy([host], ALL, Approval()).exit_code is ExitCode.REFUSED
    allowed = Approval(allow_destroy=True, confirmed=frozenset({"a"}))
    assert engine.destroy([host], ALL, allowed).exit_code is ExitCode.OK
    assert ("l1_ground", "a", "") not in world.things
    assert "l1_ground" not in {o.layer for o in engine.journal.ledger()}


def test_a_bug_is_recorded_and_raised_when_the_run_has_ended(make_engine, make_host, world):
    world.raises[("apply", "l1_ground", "a")] = ZeroDivisionError("oops")
    hosts = [make_host("a"), make_host("b")]
    engine = make_engine(*hosts)
    with pytest.raises(ZeroDivisionError):
        engine.converge(hosts, ALL, Approval())
    assert ("l2_top", "b", "x") in world.things
    assert engine.journal.runs(1)[0].exit_code == ExitCode.FAILED


def test_cancelled_ends_as_interrupted_and_the_same_run_resumes(make_engine, make_host, world):
    host = make_host()
    engine = make_engine(host)

    def listen(event):
        if isinstance(event, events.ChangeEnded):
            engine.workspace.cancelled.set()

    report = engine.converge([host], ALL, Approval(), listen)
    assert report.exit_code is ExitCode.INTERRUPTED
    assert ("l1_ground", "a", "") in world.things
    engine.workspace.cancelled.clear()
    assert engine.converge([host], ALL, Approval()).exit_code is ExitCode.OK


def test_a_second_run_on_the_same_host_is_told_who_holds_it(make_engine, make_host, world):
    world.hold = threading.Event()
    host = make_host()
    engine, other = make_engine(host), make_engine(host, make_host("b"))
    started = threading.Event()

    def listen(event):
        if isinstance(event, events.ChangeStarted):
            started.set()

    run = threading.Thread(target=engine.converge, args=([host], ALL, Approval(), listen))
    run.start()
    assert started.wait(20)
    with pytest.raises(Locked, match=r"process \d+, since"):
        other.converge([host], ALL, Approval())
    world.hold.set()
    run.join(20)
    assert other.converge([host], ALL, Approval()).changes == 0


def test_every_change_is_in_the_journal_before_it_is_applied(make_engine, make_host, world):
    world.raises[("apply", "l1_ground", "a")] = DriverError("no")
    engine = make_engine(make_host())
    engine.converge([make_host()], ALL, Approval())
    rows = engine.journal._rows("SELECT what, ok, ended IS NOT NULL FROM change")
    assert rows == [("thing ", 0, 1)]


def test_hosts_are_not_planned_as_waiting(make_engine, make_host, world):
    world.raises[("observe", "l1_ground", "a")] = TransportError("off")
    hosts = [make_host("a"), make_host("b", after=("a",))]
    report = make_engine(*hosts).plan(hosts, ALL)
    assert {p.host for p in report.parts if p.plan != Plan()} == {"b"}


def stacked(layers):
    return (layers[0], replace(layers[1], stacked=True))


def plans(report):
    return {(p.host, p.layer, p.part): p.plan for p in report.parts}


def test_a_part_that_stands_on_a_pending_one_is_predicted_and_approved_as_it_will_be_found(
    make_engine, make_host, world, layers
):
    host = make_host(top=(("x", 1), ("y", 1)))
    engine = make_engine(host, layers=stacked(layers))
    world.things[("l1_ground", "a", "")] = 1
    approved = plans(engine.plan([host], ALL))
    assert [approved["a", "l2_top", n].open for n in ("x", "y")] == [False, True]
    assert approved["a", "l2_top", "y"].predicted
    world.things[("l2_top", "a", "y")] = 0  # applying x did this: y is to be updated, not created
    assert engine.converge([host], ALL, Approval(only=approved)).exit_code is ExitCode.OK
    settled = plans(engine.plan([host], ALL))
    assert not any(p.open or p.predicted for p in settled.values())


def test_an_open_plan_does_not_allow_a_loss(make_engine, make_host, world, layers):
    host = make_host(top=(("x", 1), ("y", 1)))
    engine = make_engine(host, layers=stacked(layers))
    world.things[("l1_ground", "a", "")] = 1
    approved = plans(engine.plan([host], ALL))
    world.things[("l2_top", "a", "y")] = 2  # lowering it loses something
    report = engine.converge([host], ALL, Approval(only=approved))
    assert report.parts[-1].failure.kind == "Destructive"


def test_a_part_that_cannot_be_seen_before_a_pending_one_is_done_does_not_fail_the_plan(
    make_engine, make_host, world, layers
):
    host = make_host(top=(("x", 1), ("y", 1)))
    engine = make_engine(host, layers=stacked(layers))
    world.things[("l1_ground", "a", "")] = 1
    toy = type(layers[1].drivers["toy"](None))
    seen = toy.observe

    def observe(self, target):
        if target.name == "y" and ("l2_top", "a", "x") not in world.things:
            raise DriverError("Unable to look at y: x is missing.")
        return seen(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, "observe", observe)
        report = engine.plan([host], ALL)
        assert report.exit_code is ExitCode.PENDING
        assert "x is missing" in plans(report)["a", "l2_top", "y"].notes[0]
        done = engine.converge([host], ALL, Approval(only=plans(report)))
    assert done.exit_code is ExitCode.OK
