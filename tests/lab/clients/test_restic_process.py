"""A restic whose store says no: what is told, and when it is given up."""

import subprocess
import tempfile

import pytest

from lab.clients import restic_process
from lab.clients.restic_process import Call, failure
from lab.errors import TransportError

CONFIG = "Stat(<config/>) returned error, retrying after 1.2s: dial tcp 192.0.2.1:8000: refused"
PACK = "Save(<data/0123456789>) returned error, retrying after 2.5s: unexpected EOF"
WELL = "Stat(<config/>) operation successful after 1 retries"


@pytest.fixture
def call(monkeypatch):
    monkeypatch.setattr(restic_process, "UNANSWERED", -1.0)
    with tempfile.TemporaryFile() as err:
        process = subprocess.Popen(["sleep", "100"])
        made = Call(process, ["restic"], err, "rest:http://nas/")
        made.heard = []
        made.notice = made.heard.append
        yield made
        process.kill()
        process.wait()


def say(call, *lines):
    call.err.write("".join(f"{line}\n" for line in lines).encode())
    call.err.flush()


def test_one_that_cannot_be_opened_is_given_up_with_the_stores_words(call):
    say(call, CONFIG)
    at = call.err.tell()
    with pytest.raises(TransportError, match=r"the store cannot be opened: dial tcp .*refused"):
        call.look("list")
    assert call.err.tell() >= at
    assert call.process.poll() is not None
    assert call.heard == ["dial tcp 192.0.2.1:8000: refused"]


def test_one_that_opened_in_the_end_is_left_alone(call):
    say(call, CONFIG, WELL)
    call.look("list")
    assert call.heard == []


def test_one_that_takes_nothing_for_a_while_is_told_and_left_to_restic(call):
    say(call, PACK)
    call.look("store")
    call.look("store")
    say(call, "Save(<data/0123456789>) operation successful after 1 retries")
    call.look("store")
    assert call.heard == ["unexpected EOF", ""]
    assert call.process.poll() is None


def test_what_ssh_says_is_the_cause(call):
    say(
        call,
        "subprocess ssh: Host key verification failed.",
        '{"message_type":"exit_error","code":1,"message":"Fatal: unable to open repository: EOF"}',
    )
    call.kill()
    error = failure(call, "list")
    assert isinstance(error, TransportError)
    assert "ssh says: Host key verification failed" in error.message
