"""What runs write with --json is what docs/events.md and `lab schema events` say, line by line."""

import contextlib
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import jsonschema
import pytest

from lab import events
from lab.api.streams import kinds, page, stream_schema
from lab.cli import main

ROOT = Path(__file__).resolve().parents[3]
FILES = {
    "lab.yaml": "name: stream\nproviders:\n  box: {kind: memory}\n",
    "personas/web.yaml": """
image: {base: debian-13}
machine: {cpu: 1, memory: 1GiB, disks: {root: {size: 8GiB}}}
system: {packages: [curl], files: {/etc/motd: {content: hello}}}
""",
    "inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: box}\n",
}


@pytest.fixture(scope="module")
def validator():
    schema = stream_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def stream(root, *words, code):
    out = io.StringIO()
    with contextlib.chdir(root), redirect_stdout(out), redirect_stderr(io.StringIO()):
        assert main.run([*words, "--json"]) == code
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_the_page_is_made_from_the_events():
    assert (ROOT / "docs/events.md").read_text() == page(), "just reference"


def test_real_streams_are_as_the_schema_says(lab_dir, validator):
    root = lab_dir(FILES)
    lines = stream(root, "plan", code=2)
    lines += stream(root, "converge", "--yes", code=0)
    lines += stream(root, "verify", code=0)
    lines += stream(root, "converge", code=5)  # not approved: an error
    lines += stream(root, "destroy", "--all", "--yes", "--confirm", "web1", code=0)
    (root / "personas/web.yaml").write_text("image: 7\n")
    lines += stream(root, "plan", code=3)
    for line in lines:
        validator.validate(line)
    seen = {line.get("event", line["schema"]) for line in lines}
    assert seen >= {"run_started", "part_started", "part_planned", "change_started"}
    assert seen >= {"change_ended", "part_ended", "lab.report/1", "lab.error/1"}


def test_events_that_need_luck_are_checked_as_well(validator):
    rare = (
        events.Progress(1.0, "a", "l1", "", "copying", 3, None),
        events.Notice(2.0, "a fallback"),
        events.LockAwaited(3.0, "a: me@box runs 'lab' on it", 0.5),
    )
    for event in rare:
        validator.validate(events.to_json(event))
    assert {type(e) for e in rare} <= set(kinds())


def test_the_schema_can_refuse(validator):
    good = events.to_json(events.Notice(2.0, "a fallback"))
    for bad in ({**good, "more": 1}, {**good, "event": "novel"}, {**good, "text": 3}):
        assert not validator.is_valid(bad)
