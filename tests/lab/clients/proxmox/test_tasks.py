"""Following tasks: what a real node answered, and what can go wrong on the way."""

import pytest

from lab.clients.proxmox import TaskFailed, TaskLost, wait
from lab.errors import DeadlineExceeded, Interrupted

UPID = "UPID:pve1:00000291:00052ADD:6B007029:qmdestroy:9000:root@pam!t1:"
PATH = f"nodes/pve1/tasks/{UPID}"


def runs(percent=None):
    return {"status": "running", "upid": UPID}


def ended(how):
    return {"status": "stopped", "exitstatus": how, "upid": UPID}


def follow(api, **said):
    return wait(api, UPID, doing="delete VM 9000", deadline=said.pop("deadline", 5), **said)


def test_running_then_ok(node, api):
    node.on("GET", f"{PATH}/status", runs(), runs(), ended("OK"))
    assert follow(api).warnings == ()
    assert len(node.asked) == 3


def test_a_task_that_ended_is_not_one_that_succeeded(node, api, recorded):
    node.on("GET", f"{PATH}/status", recorded["delete-template-in-use.status"])
    node.on("GET", f"{PATH}/log", recorded["delete-template-in-use.log"])
    with pytest.raises(TaskFailed, match="is still in use by linked cloned") as raised:
        follow(api)
    assert raised.value.lines[-1].startswith("TASK ERROR: base volume")
    assert "pvesh get" in raised.value.hint


def test_warnings_are_no_failure_and_are_handed_on(node, api):
    node.on("GET", f"{PATH}/status", ended("WARNINGS: 1"))
    node.on("GET", f"{PATH}/log", [{"n": 1, "t": "WARN: no efidisk"}, {"n": 2, "t": "x"}])
    assert follow(api).warnings == ("WARN: no efidisk",)


@pytest.mark.parametrize("how", ["received interrupt", "unexpected status", ""])
def test_other_ends_are_failures(node, api, how):
    node.on("GET", f"{PATH}/status", ended(how)).on("GET", f"{PATH}/log", [])
    with pytest.raises(TaskFailed):
        follow(api)


def test_a_task_that_vanished(node, api):
    errors = {"upid": "no such task"}
    node.on("GET", f"{PATH}/status", runs(), (400, "Parameter verification failed.", errors))
    with pytest.raises(TaskLost, match="knows nothing of the task"):
        follow(api)


def test_the_daemon_may_be_away_for_a_moment(node, api, recorded):
    node.on("GET", f"{PATH}/status", runs(), recorded["pvedaemon-down-protected"], ended("OK"))
    follow(api)


def test_a_task_that_never_ends(node, api):
    node.on("GET", f"{PATH}/status", runs())
    with pytest.raises(DeadlineExceeded, match="goes on"):
        follow(api, deadline=0.05)
    assert {method for method, *_ in node.asked} == {"GET"}, "it is left alone"


def test_the_wish_to_stop_ends_the_task(node, api):
    node.on("GET", f"{PATH}/status", runs(), ended("received interrupt")).on("DELETE", PATH, None)
    look = api.get

    def press(*args, **words):
        found = look(*args, **words)
        api.cancelled.set()
        return found

    api.get = press
    with pytest.raises(Interrupted):
        follow(api)
    assert "DELETE" in {method for method, *_ in node.asked}


def test_progress_is_read_from_its_log(node, api, monkeypatch):
    monkeypatch.setattr("lab.clients.proxmox.tasks._ASK_LOG_AFTER", -1)
    node.on("GET", f"{PATH}/status", runs(), runs(), ended("OK"))
    said = [{"n": 1, "t": "transferred 2.0 GiB of 8.0 GiB (25.00%)"}, {"n": 2, "t": "x"}]
    node.on("GET", f"{PATH}/log", said)
    told = []
    follow(api, telling=told.append)
    assert told == [25.0, 25.0]
