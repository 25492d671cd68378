"""Faults happen when told to, are recorded, and leave what they leave."""

import http.client
import json

import pytest

from tests.standins.proxmox import How


def test_the_nth_call_fails_once_or_for_good(standin, api):
    standin.fail(at=2, status=596)
    assert [api.get("/version").status for _ in range(3)] == [200, 596, 200]
    standin.fail(
        at=1,
        status=500,
        reason="cfs-lock 'x' error: got lock request timeout",
        for_good=True,
        method="POST",
        path="/nodes/*/clone",
    )
    standin.add_template()
    for _ in range(2):
        said = api.post("/nodes/pve1/qemu/9000/clone", newid=101)
        assert (said.status, said.reason[:8]) == (500, "cfs-lock")
    assert [(one.number, one.fault) for one in standin.faults.happened] == [
        (2, How.ANSWER),
        (4, How.ANSWER),
        (5, How.ANSWER),
    ]


def test_a_reply_is_lost_after_the_call_was_carried_out(standin, api):
    standin.add_template()
    standin.fail(how=How.DROP_REPLY, method="POST", path="*/clone")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        api.post("/nodes/pve1/qemu/9000/clone", newid=101)
    standin.settle()
    assert api.get("/nodes/pve1/qemu/101/config").status == 200
    [met] = standin.faults.happened
    assert (met.status, met.fault) == (200, How.DROP_REPLY)


def test_a_connection_is_reset_before_anything_happens(standin, api):
    standin.add_template()
    standin.fail(how=How.RESET, method="POST", path="*/clone")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        api.post("/nodes/pve1/qemu/9000/clone", newid=101)
    assert 101 not in standin.world.guests


def test_a_late_answer_is_an_error_over_work_that_was_done(standin, api):
    standin.fail(how=How.LATE_ANSWER, status=596, method="POST", path="/pools")
    assert api.post("/pools", poolid="lab").status == 596
    assert "lab" in standin.world.pools


def test_tasks_fail_hang_and_vanish(standin, api):
    standin.add_vm(101, "a")
    start = "/nodes/pve1/qemu/101/status/start"
    standin.fail_task("qmstart", "fail", "start failed: no memory")
    assert api.done(api.post(start)) == "start failed: no memory"
    standin.fail_task("qmstart", "vanish")
    upid = api.post(start).data
    standin.settle()
    said = api.get(f"/nodes/pve1/tasks/{upid}/status")
    assert said.errors == {"upid": "no such task"}
    standin.fail_task("qmstop", "hang")
    upid = api.post("/nodes/pve1/qemu/101/status/stop").data
    for _ in range(3):
        assert api.get(f"/nodes/pve1/tasks/{upid}/status").data["status"] == "running"
    assert api.delete(f"/nodes/pve1/tasks/{upid}").status == 200
    assert api.ended(upid) == "received interrupt"
    assert standin.world.tasks.granted == [
        ("qmstart", "fail"),
        ("qmstart", "vanish"),
        ("qmstop", "hang"),
    ]


def test_a_locked_file_and_a_daemon_that_is_down(standin, api):
    standin.add_vm(101, "a").flocked = True
    said = api.put("/nodes/pve1/qemu/101/config", cores=1)
    assert said.reason == "can't lock file '/var/lock/qemu-server/lock-101.conf' - got timeout"
    standin.world.daemon_down = True
    assert api.get("/nodes/pve1/storage").status == 595
    assert api.get("/version").status == 200


def test_calls_are_counted_and_keep_no_secret(standin, api):
    standin.add_vm(101, "a")
    api.put("/nodes/pve1/qemu/101/config", cipassword="canary-1")
    api.post("/access/users", userid="a@pve", password="canary-2")
    api.get("/nodes/pve1/qemu/101/config")
    assert "canary" not in repr(standin.faults.calls)
    assert standin.faults.count("PUT") == 1
    assert standin.faults.count(path="*/qemu/101/config") == 2
    assert api.config(101)["cipassword"] == "**********"


def test_the_switchboard_does_the_same_from_another_process(standin, api):
    standin.add_vm(101, "a")

    def ask(method, path, /, **parameters):
        return api.call(method, path, parameters, prefix="/standin")

    assert ask("POST", "/fault", at=1, status=599, path="/version").status == 200
    assert api.get("/version").status == 599
    assert ask("POST", "/task", kind="qmstart", what="fail", text="no").status == 200
    assert api.done(api.post("/nodes/pve1/qemu/101/status/start")) == "no"
    assert ask("POST", "/edit", vmid=101, cores=3).status == 200
    assert api.config(101)["cores"] == 3
    [met] = ask("GET", "/happened").data
    assert (met["path"], met["fault"]) == ("/version", "answer")
    assert ask("GET", "/calls").data
    assert ask("POST", "/fault", how="nonsense").status == 400
    json.dumps(met)
