"""What a failed run tells is as the schema of the stream says."""

import json

import jsonschema

from lab import events
from lab.api.streams import stream_schema
from lab.engine import Approval
from lab.engine.protocol import Options
from lab.errors import DriverError


def test_the_stream_of_a_failed_run(make_engine, make_host, world):
    validator = jsonschema.Draft202012Validator(stream_schema())
    world.raises["apply", "l2_top", "a"] = DriverError(
        "Unable to make it.", command="make it", status=2, lines=["one", "two"]
    )
    engine, seen = make_engine(make_host("a")), []
    hosts = list(engine.inventory.hosts.values())
    report = engine.converge(hosts, Options(1), Approval(), seen.append)
    assert report.exit_code == 1
    lines = [events.to_json(event) for event in seen[:-1]]
    lines.append({"schema": "lab.report/1", "exit_code": 1, **events.to_json(report)})
    for line in lines:
        validator.validate(json.loads(json.dumps(line)))
    assert any(p["failure"] for p in lines[-1]["parts"])
