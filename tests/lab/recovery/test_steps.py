"""How far a rebuild came: written down, read back, in order; no real machine needed."""

import json
import threading
from types import SimpleNamespace

import pytest

from lab.errors import LabError, Locked
from lab.journal import locked
from lab.model.host import Host
from lab.model.outcome import Failure
from lab.model.plan import Action, Change, Plan
from lab.recovery.rebuilding import AFTER, BEFORE, EACH, Ask, _Work, ordered, steps_of
from lab.recovery.stepping import Steps, read, unfinished
from layers import LAYERS


def host(name, *after):
    return Host(name, "p", "box", after=after)


def test_what_is_done_is_found_again(tmp_path):
    steps = Steps(tmp_path / "r/a.json", ("a", "b"), 5.0, frozenset({"a/x"}), frozenset({"a", "b"}))
    steps.known["host_key a"] = "ssh-ed25519 AAAA"
    steps.finish("replace a", 1.23456)
    found = unfinished(tmp_path / "r", ["b"])
    assert found == steps
    assert found.done == {"replace a": 1.235}
    assert unfinished(tmp_path / "r", ["c"]) is None
    steps.end("5-a-done.json")
    assert unfinished(tmp_path / "r", ["a"]) is None
    assert json.loads((tmp_path / "r/5-a-done.json").read_text())["done"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "strata.steps/2"}'])
def test_a_record_that_cannot_be_read_is_told_and_not_passed_over(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(LabError, match="Unable to read how far a rebuild came"):
        read(tmp_path / "a.json")


def test_hosts_are_rebuilt_after_those_they_wait_for():
    hosts = [host("web", "db", "elsewhere"), host("db", "nas"), host("nas")]
    assert [h.name for h in ordered(hosts)] == ["nas", "db", "web"]


def test_every_loss_stands_behind_every_gate():
    steps = [s.key for s in steps_of(["a", "b"], {"runway": 1.0})]
    assert steps[:3] == list(BEFORE)
    assert steps.index("verify") < steps.index("replace a") < steps.index("replace b")
    assert steps.index("standing a") < steps.index("workloads a")
    assert len(steps) == len(BEFORE) + 2 * len(EACH) + len(AFTER)


def test_a_loss_is_accepted_by_its_name_alone():
    ask = Ask(frozenset({"a/photos", "cache"}))
    assert ask.accepts("a", "photos")
    assert not ask.accepts("b", "photos")
    assert ask.accepts("b", "cache")


def test_locks_that_the_caller_lends_are_not_asked_for_again(tmp_path):
    with locked(tmp_path, ["a"], "rebuild", lent=True):
        with locked(tmp_path, ["a", "b"], "converge"):
            pass
        with locked(tmp_path, ["a"], "capture"):
            pass
    with locked(tmp_path, ["a"], "converge"):
        pass

    busy = []

    def other():
        try:
            with locked(tmp_path, ["a"], "converge"):
                pass
        except Locked as error:
            busy.append(error)

    with locked(tmp_path, ["a"], "rebuild", lent=True):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(busy) == 1, "another thread is somebody else"


@pytest.mark.parametrize(
    ("kind", "left", "waits"),
    [
        ("DeadlineExceeded", [Action.UPDATE], True),
        ("DeadlineExceeded", [], False),
        ("DeadlineExceeded", [Action.REPLACE], False),
        ("DeadlineExceeded", [Action.CREATE, Action.UPDATE], False),
        ("DriverError", [Action.UPDATE], False),
        ("", [Action.UPDATE], False),
    ],
)
def test_a_machine_that_only_boots_too_long_is_waited_for_and_not_replaced_again(kind, left, waits):
    failure = Failure(kind, "slow") if kind else None
    plan = Plan(tuple(Change(action, "machine") for action in left))
    failed = SimpleNamespace(parts=[SimpleNamespace(failure=failure, plan=Plan())])
    after = SimpleNamespace(parts=[SimpleNamespace(failure=None, plan=plan)])
    work = object.__new__(_Work)
    work._engine = SimpleNamespace(layers=LAYERS, plan=lambda *_: after)
    assert work._only_boots(host("a"), failed) is waits
