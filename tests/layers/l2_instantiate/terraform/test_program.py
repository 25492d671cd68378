"""Tofu as a program, by scripts that behave as it does."""

import os
import signal
import stat
import threading
import time

import pytest

from lab.errors import DeadlineExceeded, DriverError, Interrupted, Locked
from layers.l2_instantiate.drivers.terraform import program
from layers.l2_instantiate.drivers.terraform.program import Command, Program

LOCKED = (
    '{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Error acquiring the state '
    'lock","detail":"Lock Info:\\n  ID:        1234\\n  Path:      terraform.tfstate\\n  '
    'Operation: OperationTypeApply\\n  Who:       me@nas\\n  Created:   2026-11-29 10:00:00"}}'
)


@pytest.fixture
def script(tmp_path, monkeypatch):
    def write(text, name="tofu"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{path.parent}:/bin:/usr/bin")
        return path

    return write


def run(path, tmp_path, *, cancelled=None, deadline=20.0, env=None, output=None):
    told = []
    command = Command(("apply", "-json"), "make web1", tmp_path, env or {}, deadline)
    status = program.call(
        Program(str(path), "tofu", (1, 10)),
        command,
        cancelled=cancelled or threading.Event(),
        tell=told.append,
        output=output,
    )
    return status, told


def version(number):
    return f"""echo '{{"terraform_version": "{number}"}}'"""


def test_tofu_is_found_on_the_path(script):
    script(version("1.10.3"))
    assert program.find().version == (1, 10, 3)


def test_one_that_is_too_old_is_told_with_its_version(script, monkeypatch):
    path = script(version("1.5.7"), "terraform")
    monkeypatch.setenv("PATH", str(path.parent) + ":/bin")
    with pytest.raises(DriverError, match=r"terraform is 1\.5\.7") as caught:
        program.find()
    assert "install OpenTofu" in caught.value.hint


def test_without_any_the_error_says_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DriverError, match="tofu is not installed") as caught:
        program.find()
    assert "just peers" in caught.value.hint


def test_an_error_carries_what_tofu_said(script, tmp_path):
    error = '{"type":"diagnostic","diagnostic":{"severity":"error","summary":"no such pool"}}'
    path = script(f"echo '{error}'; exit 1")
    with pytest.raises(DriverError, match="Unable to make web1: no such pool") as caught:
        run(path, tmp_path)
    assert caught.value.status == 1


def test_a_held_lock_says_who_holds_it_and_since_when(script, tmp_path):
    path = script(f"printf '%s\\n' '{LOCKED}'; exit 1")
    with pytest.raises(Locked, match="me@nas holds its state since 2026-11-29") as caught:
        run(path, tmp_path)
    assert "force-unlock 1234" in caught.value.hint


def test_the_wish_to_stop_reaches_it_once_and_it_is_waited_for(script, tmp_path):
    path = script(
        f"""n=0; trap 'n=$((n+1)); echo $n >{tmp_path}/asked' INT
echo started >{tmp_path}/started
while [ ! -e {tmp_path}/asked ]; do sleep 0.05; done
sleep 0.5; echo done >{tmp_path}/finished; exit 1"""
    )
    cancelled = threading.Event()
    waiting = threading.Thread(target=_cancel_when, args=(tmp_path / "started", cancelled))
    waiting.start()
    with pytest.raises(Interrupted):
        run(path, tmp_path, cancelled=cancelled)
    waiting.join()
    assert (tmp_path / "asked").read_text() == "1\n"
    assert (tmp_path / "finished").exists()


def _cancel_when(path, cancelled):
    ends = time.monotonic() + 10
    while not path.exists() and time.monotonic() < ends:
        time.sleep(0.01)
    cancelled.set()


def test_one_that_never_ends_is_ended(script, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "_GRACE", 0.2)
    path = script(f"trap '' INT; echo $$ >{tmp_path}/pid; while :; do sleep 0.05; done")
    with pytest.raises(DeadlineExceeded, match="was not done after"):
        run(path, tmp_path, deadline=0.5)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGCONT)


def test_secrets_come_by_the_environment_and_the_users_own_settings_stay_out(
    script, tmp_path, monkeypatch
):
    monkeypatch.setenv("TF_CLI_ARGS_apply", "-auto-approve")
    monkeypatch.setenv("TF_WORKSPACE", "other")
    path = script('echo "$PROXMOX_VE_API_TOKEN,$TF_WORKSPACE,$TF_CLI_ARGS_apply,$TF_IN_AUTOMATION"')
    output = []
    run(path, tmp_path, env={"PROXMOX_VE_API_TOKEN": "t"}, output=output)
    assert output == ["t,,,1"]
