"""What a word of the lab means: a layer, a persona key, an exit code, an error."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from importlib import resources
from typing import Any

from lab import errors
from lab.api.schema import schemas
from lab.errors import ConfigError, LabError, Problem
from lab.layer import Layer
from lab.model.outcome import ExitCode, Outcome

_EXITS = {
    ExitCode.OK: "converged, or nothing to change",
    ExitCode.FAILED: "something failed; what was finished is kept: run the same command again",
    ExitCode.PENDING: "changes are pending (plan, verify)",
    ExitCode.CONFIG: "the lab's files, or the words of the command, are wrong",
    ExitCode.LOCKED: "another run holds one of the hosts; it is named",
    ExitCode.REFUSED: "a guard or a blocker refused; the line that allows or mends it is shown",
    ExitCode.UNREACHABLE: "a host could not be reached; it is behind and picked up next time",
    ExitCode.REVERTED: "a change cut us off and reverted itself",
    ExitCode.INTERRUPTED: "interrupted; the same command again resumes",
}


def explain(topic: str, layers: tuple[Layer, ...]) -> str:
    """A few paragraphs of plain text. Raises ConfigError with the nearest words otherwise."""
    for layer in layers:
        if topic in {layer.name, layer.short, layer.title}:
            return resources.files(f"layers.{layer.name}").joinpath("README.md").read_text()
    if topic.isdigit() and int(topic) in _EXITS:
        return f"Exit code {topic}: {_EXITS[ExitCode(int(topic))]}."
    if topic in {"exit", "exit-codes"}:
        return "\n".join(f"{int(code):>4}  {text}" for code, text in _EXITS.items())
    if topic in {o.value for o in Outcome}:
        return f"{topic}: one way a layer of a host can end. " + (inspect.getdoc(Outcome) or "")
    kind = getattr(errors, topic, None)
    if inspect.isclass(kind) and issubclass(kind, LabError):
        return f"{topic}: {inspect.getdoc(kind)}"
    found = _key(topic, schemas(layers))
    if found is not None:
        return found
    words = [*(k.short for k in layers), *(k.title for k in layers), "exit-codes", "machine"]
    words += list(schemas(layers)["persona"]["properties"])
    near = get_close_matches(topic, words, n=3)
    known = ", ".join(near or words)
    raise ConfigError([Problem("", f"nothing is known about {topic!r}; try one of: {known}")])


def _key(topic: str, documents: dict[str, dict[str, Any]]) -> str | None:
    """A key of a persona, a host or ``lab.yaml``: ``machine.disks``."""
    for name, document in documents.items():
        definitions = document["$defs"]
        node: dict[str, Any] | None = document
        if name == "promoted":  # its keys are personas, and below them a persona's sections
            continue
        if name == "hosts":
            node = document["properties"]["hosts"]["additionalProperties"]
        elif "properties" not in document:  # names of the user's own choice, each with what it is
            node = document["additionalProperties"]
        for step in topic.split("."):
            node = _child(node, step, definitions)
        if node is not None:
            return _describe(topic, name, node, definitions)
    return None


def _variants(node: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in node:
        return _variants(definitions[node["$ref"].rsplit("/", 1)[1]], definitions)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in node:
            return [v for item in node[key] for v in _variants(item, definitions)]
    return [node]


def _child(
    node: dict[str, Any] | None, step: str, definitions: dict[str, Any]
) -> dict[str, Any] | None:
    for variant in _variants(node, definitions) if node else ():
        if step in variant.get("properties", {}):
            found: dict[str, Any] = variant["properties"][step]
            return found
        more = variant.get("additionalProperties")
        if isinstance(more, dict):
            return more
    return None


def _describe(topic: str, name: str, node: dict[str, Any], definitions: dict[str, Any]) -> str:
    lines = [f"{topic} ({'a persona or host' if name == 'persona' else name})"]
    for variant in _variants(node, definitions):
        lines += _about(variant, node.get("description", ""), definitions)
    if node.get("default") not in (None, "", {}, []):
        lines += ["", f"Default: {node['default']}"]
    return "\n".join(lines)


def _about(variant: dict[str, Any], said: str, definitions: dict[str, Any]) -> list[str]:
    """What may stand there: its description, and its keys or those of each of its items."""
    text = said or variant.get("description", "")
    lines = ["", " ".join(str(text).split())] if text else []
    if "properties" in variant:
        return [*lines, "", "Keys:", *_keys(variant)]
    inner = variant.get("additionalProperties", variant.get("items"))
    if isinstance(inner, dict):
        what = "A list." if "items" in variant else "Names, each with what it is:"
        items = [v for v in _variants(inner, definitions) if v.get("type") != "null"]
        told = [line for v in items for line in _keys(v)]
        return [*lines, "", what, *(told or [f"  {_kind(v)}" for v in items])]
    if variant.get("type") != "null":
        return [*lines, f"  {_kind(variant)}"]
    return lines


def _keys(variant: dict[str, Any]) -> list[str]:
    needed = variant.get("required", [])
    lines = []
    for key, field in variant.get("properties", {}).items():
        about = " ".join(str(field.get("description", "")).split())
        lines.append(f"  {key}{' (needed)' if key in needed else ''}  {about}".rstrip())
    return lines


def _kind(variant: dict[str, Any]) -> str:
    if "enum" in variant:
        return "one of: " + ", ".join(map(str, variant["enum"]))
    examples = variant.get("examples")
    like = f", like {', '.join(map(str, examples))}" if examples else ""
    return f"{variant.get('type', 'any value')}{like}"
