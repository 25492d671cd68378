"""Programs are run to their end, or ended with all their children."""

import threading

import pytest

from lab.clients.process import run
from lab.errors import DeadlineExceeded, DriverError, Interrupted


def test_output_and_input():
    done = run(["sh", "-c", "cat; echo err >&2"], doing="try", stdin=b"hello")
    assert (done.status, done.stdout, done.lines) == (0, b"hello", ("err",))


def test_a_failure_carries_what_a_person_needs():
    with pytest.raises(DriverError) as caught:
        run(["sh", "-c", "echo one >&2; echo two >&2; exit 3"], doing="try it", hint="do that")
    error = caught.value
    assert error.message == "Unable to try it: two."
    assert (error.status, error.lines, error.hint) == (3, ("one", "two"), "do that")


def test_a_missing_program_is_named():
    with pytest.raises(DriverError, match="no-such-program is not installed"):
        run(["no-such-program"], doing="try")


def test_the_deadline_ends_the_children_too(tmp_path):
    script = f"(trap '' TERM; sleep 60 & wait; echo late > {tmp_path}/late) & sleep 60"
    with pytest.raises(DeadlineExceeded, match="not done after 1 s"):
        run(["sh", "-c", script], doing="try", deadline=1)
    assert not (tmp_path / "late").exists()


def test_cancelling_ends_it():
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Interrupted):
        run(["sleep", "60"], doing="try", cancelled=cancelled)


def test_lines_come_as_they_are_written():
    lines: list[str] = []
    run(["sh", "-c", r"printf 'a\rb\nc\n' >&2"], doing="try", on_line=lines.append)
    assert lines == ["a", "b", "c"]


def test_much_output_both_ways():
    data = b"x" * 3_000_000
    done = run(["sh", "-c", "cat; head -c 1000000 /dev/zero >&2"], doing="try", stdin=data)
    assert (len(done.stdout), len(done.stderr)) == (3_000_000, 1_000_000)
