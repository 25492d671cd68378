"""What tofu says while it works, and how it says no."""

import json

from layers.l2_instantiate.drivers.terraform.stream import Stream


def line(**said):
    return json.dumps(said)


def test_progress_is_told_and_the_first_error_is_the_reason():
    told = []
    stream = Stream(told.append)
    hook = {"action": "create", "elapsed_seconds": 10}
    stream.take(line(type="apply_progress", hook=hook))
    stream.take(line(type="diagnostic", diagnostic={"severity": "warning", "summary": "old"}))
    error = {"severity": "error", "summary": "VM clone", "detail": "VM 5001\n  already exists."}
    stream.take(line(type="diagnostic", diagnostic=error))
    assert told == ["tofu: making it (10 s)"]
    assert stream.why == "VM clone: VM 5001 already exists"
    assert stream.lines == ("VM clone", "VM 5001", "  already exists.")


def test_words_that_are_no_json_are_the_reason_where_nothing_else_is():
    stream = Stream(lambda _: None)
    stream.take("")
    stream.take("panic: the provider crashed.")
    assert stream.why == "panic: the provider crashed"
