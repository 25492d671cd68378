"""One host's project: nothing is applied that nobody approved; nobody works on it meanwhile."""

import fcntl
import json
import threading

import pytest

from lab.errors import DriverError, Interrupted, Locked
from lab.model.plan import Action
from layers.l2_instantiate.drivers.terraform import program, project
from layers.l2_instantiate.drivers.terraform.program import Program
from layers.l2_instantiate.drivers.terraform.project import Project, Tool

UPDATE = frozenset({Action.UPDATE})


@pytest.fixture
def tofu(monkeypatch):
    """What it was asked, and what it will plan."""
    asked, plan = [], {"actions": ["no-op"], "before": {"vm_id": 5001}}

    def call(tool, command, *, cancelled, tell, output=None):
        asked.append((command.words[0], dict(command.env)))
        if output is not None:
            output.append(json.dumps({"resource_changes": [{"name": "machine", "change": plan}]}))
        return 0

    monkeypatch.setattr(program, "call", call)
    monkeypatch.setattr(program, "find", lambda: Program("tofu", "tofu", (1, 10)))
    monkeypatch.setattr(program, "built_mirror", lambda: None)
    return asked, plan


@pytest.fixture
def one(workspace):
    env = {"PROXMOX_VE_API_TOKEN": "t", "SSL_CERT_FILE": "/pinned.pem"}
    folder = workspace.state / "tofu/web1"
    return Project(Tool(workspace), "web1", folder, env, None, lambda _: None)


def carry_out(one, document=None, allowed=UPDATE, number=5001):
    with one.locked() as held:
        return held.carry_out(document or {"terraform": {}}, "change web1", allowed, number)


def words(asked):
    return [name for name, _ in asked]


def test_nothing_to_do_is_not_applied(one, tofu):
    assert carry_out(one) is False
    assert words(tofu[0]) == ["init", "plan", "show"]


def test_what_was_planned_is_applied_and_the_provider_is_got_once(one, tofu):
    asked, plan = tofu
    plan |= {"actions": ["update"], "after": {"vm_id": 5001, "name": "x"}}
    assert carry_out(one) is True
    assert carry_out(one) is True
    assert words(asked) == ["init", "plan", "show", "apply", "plan", "show", "apply"]
    carry_out(one, {"terraform": {"backend": {"pg": {}}}})
    assert words(asked)[7] == "init"


def test_a_replacement_that_nobody_approved_is_not_done(one, tofu):
    asked, plan = tofu
    plan |= {"actions": ["delete", "create"], "replace_paths": [["node_name"]], "after": {}}
    with pytest.raises(DriverError, match="node_name cannot be changed otherwise") as caught:
        carry_out(one)
    assert "Nothing was done" in str(caught.value)
    assert "apply" not in words(asked)


def test_a_state_about_another_machine_is_not_believed(one, tofu):
    asked, plan = tofu
    plan |= {"actions": ["update"], "before": {"vm_id": 110}, "after": {"vm_id": 110}}
    with pytest.raises(DriverError, match="state is about VM 110, and the machine is VM 5001"):
        carry_out(one)
    assert "apply" not in words(asked)


def test_the_pinned_certificate_is_not_for_the_registry(one, tofu):
    carry_out(one)
    told = dict(tofu[0])
    assert "SSL_CERT_FILE" not in told["init"]
    assert told["plan"]["SSL_CERT_FILE"] == "/pinned.pem"
    for path in one.folder.rglob("*"):
        assert path.is_dir() or b"PROXMOX_VE" not in path.read_bytes()


def test_a_tofu_that_outlived_its_run_is_waited_for(one, tofu, monkeypatch):
    monkeypatch.setattr(project, "_PATIENCE", 0.2)
    monkeypatch.setattr(project, "_TICK", 0.02)
    one.folder.mkdir(parents=True)
    with (one.folder / "lock").open("w") as orphan:
        fcntl.flock(orphan, fcntl.LOCK_EX)
        with pytest.raises(Locked, match="a tofu of an earlier run is still at it") as caught:
            carry_out(one)
        assert "fuser" in caught.value.hint
        monkeypatch.setattr(project, "_PATIENCE", 20.0)
        threading.Timer(0.1, lambda: fcntl.flock(orphan, fcntl.LOCK_UN)).start()
        assert carry_out(one) is False


def test_who_waits_for_it_can_be_interrupted(one, tofu, monkeypatch):
    monkeypatch.setattr(project, "_TICK", 0.02)
    one.folder.mkdir(parents=True)
    with (one.folder / "lock").open("w") as orphan:
        fcntl.flock(orphan, fcntl.LOCK_EX)
        one.tool.workspace.cancelled.set()
        with pytest.raises(Interrupted):
            carry_out(one)
