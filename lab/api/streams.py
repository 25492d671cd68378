"""The JSON that runs write with ``--json``, as a JSON Schema made from the values themselves."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from lab import events
from lab.model.outcome import ExitCode, RunReport

DIALECT = "https://json-schema.org/draft/2020-12/schema"
OMITTED = frozenset({("FieldDiff", "text"), ("FieldDiff", "secret")})
"""Fields that are left out where they say nothing."""
_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_TIME = {"type": "string", "format": "date-time"}


def kinds() -> list[type[events.Event]]:
    """Every event that a stream can hold, in the order in which a run meets them."""
    known = [k for k in vars(events).values() if inspect.isclass(k)]
    return [k for k in known if issubclass(k, events.Event) and k is not events.Event]


def stream_schema() -> dict[str, Any]:
    """Of one line of the stream: an event, the report at its end, or an error."""
    definitions: dict[str, Any] = {}
    lines = {}
    for kind in kinds():
        if kind is not events.RunEnded:  # the report itself is the last line
            lines[events.name_of(kind)] = _event(kind, definitions)
    report = _object(RunReport, definitions)
    report["properties"] = {
        "schema": {"const": "lab.report/1"},
        "exit_code": {"enum": [int(code) for code in ExitCode]},
        **report["properties"],
    }
    report["required"] = ["schema", "exit_code", *report["required"]]
    lines["report"], lines["error"] = report, _error()
    return {
        "$schema": DIALECT,
        "title": "One line that a run writes with --json",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in lines],
        "$defs": {**lines, **definitions},
    }


def _event(kind: type[events.Event], definitions: dict[str, Any]) -> dict[str, Any]:
    found = _object(kind, definitions)
    found["properties"].pop("at")
    found["required"].remove("at")
    said = {"schema": {"const": events.SCHEMA}, "event": {"const": events.name_of(kind)}}
    found["properties"] = {**said, "time": _TIME, **found["properties"]}
    found["required"] = ["schema", "event", "time", *found["required"]]
    return found


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Of a dataclass: every field, and no other."""
    hints = typing.get_type_hints(kind)
    hints |= {f.name: Any for f in dataclasses.fields(kind) if f.type == "JSON"}
    names = list(hints)
    about = inspect.getdoc(kind) or ""
    return {
        "type": "object",
        "description": " ".join(about.partition("\n\n")[0].split()),
        "properties": {name: _of(hints[name], definitions) for name in names},
        "required": [n for n in names if (kind.__name__, n) not in OMITTED],
        "additionalProperties": False,
    }


def _of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Of one field's type. Raises TypeError for a type that the stream cannot hold."""
    if hint in (Any, object):
        return {}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if inspect.isclass(hint) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # known before its own fields are looked at
            definitions[hint.__name__] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_of(each, definitions) for each in inner]}
    if origin in (tuple, list):
        return {"type": "array", "items": _of(inner[0], definitions)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _of(inner[1], definitions)}
    raise TypeError(hint)


def _error() -> dict[str, Any]:
    text = {"type": "string"}
    problem = {
        "type": "object",
        "properties": {"where": text, "what": text},
        "required": ["where", "what"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "description": "The run did not begin, or could not go on; `kind` is the error's name.",
        "properties": {
            "schema": {"const": "lab.error/1"},
            "kind": text,
            "exit_code": {"enum": [int(code) for code in ExitCode]},
            "message": text,
            "hint": text,
            "problems": {"type": "array", "items": problem},
        },
        "required": ["schema", "kind", "exit_code", "message", "hint"],
        "additionalProperties": False,
    }


def page() -> str:
    """``docs/events.md``."""
    document = stream_schema()
    definitions = document["$defs"]
    return "\n".join([_HEAD, *_sections(definitions)])


_HEAD = """\
# The stream of a run

<!-- Made by `python -m lab.cli.reference events > docs/events.md`; a test keeps it up to date. -->

With `--json`, `lab plan`, `verify`, `converge` and `destroy` write one JSON document a line:
events as they happen (`lab.event/1`), then the report (`lab.report/1`). Where there is none to
give, the last line is an error (`lab.error/1`). `lab schema events` prints the JSON Schema of a
line.

- **Version**: the number after the slash changes when a field goes or changes its meaning. Fields
  and events may be added under the same number: overlook what you do not know.
- **Order**: events of one host come in order; those of several hosts mix. `run_started` is first,
  except for `lock_awaited`. A run that is killed has no last line: `lab show last` tells how far
  it came.
- **Secrets** are masked in every field. Times are UTC, ISO 8601; durations are seconds.

```
{"schema": "lab.event/1", "event": "change_ended", "time": "2026-01-02T03:04:05.678+00:00",
 "host": "web1", "layer": "l3_system", "part": "", "change": {...}, "ok": true, "seconds": 1.2}
```

```sh
lab converge --yes --json | jq -r 'select(.event == "part_ended").report | "\\(.host) \\(.outcome)"'
```
"""


def _sections(definitions: dict[str, Any]) -> Iterator[str]:
    for name, body in definitions.items():
        yield f"## {name}\n"
        yield f"{body['description']}\n"
        yield "| field | type |\n|---|---|"
        for field, kind in body["properties"].items():
            left_out = "" if field in body["required"] else " (left out where it says nothing)"
            yield f"| `{field}` | {_words(kind)}{left_out} |"
        yield ""


def _words(kind: Mapping[str, Any]) -> str:
    if "const" in kind:
        return f"`{kind['const']}`"
    if "enum" in kind:
        return ", ".join(f"`{value}`" for value in kind["enum"])
    if "$ref" in kind:
        name = kind["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in kind:
        return " or ".join(_words(each) for each in kind["anyOf"])
    if kind.get("type") == "array":
        return f"list of {_words(kind['items'])}"
    if kind.get("type") == "object":
        inner = kind["additionalProperties"]
        return (
            f"object: {', '.join(kind['properties'])}"
            if inner is False
            else (f"object of {_words(inner)}")
        )
    return "time" if "format" in kind else str(kind.get("type", "any value"))
