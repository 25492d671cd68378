"""JSON and dotenv into a tree, and back."""

from __future__ import annotations

import json
import re
from typing import Any

from lab.secrets.sops.scalars import INT_MAX, INT_MIN
from lab.secrets.sops.tree import (
    MAX_DEPTH,
    MAX_VALUES,
    Branch,
    Comment,
    Item,
    plain,
    tree_of,
    wrong,
)

_PREFIX = "sops_"
_STEP = re.compile(r"__(map|list)_")
_LONGEST = 400  # characters of a number


def parse_json(text: str, name: str) -> Branch:
    """The object of a JSON text. Raises ConfigError."""
    if _depth(text) > MAX_DEPTH:
        raise wrong(name, "", f"values nested more than {MAX_DEPTH} deep")
    seen = 0

    def branch(pairs: list[tuple[str, Any]]) -> Branch:
        nonlocal seen
        seen += len(pairs)
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            twice = next(k for i, k in enumerate(keys) if k in keys[:i])
            raise wrong(name, "", f"{twice!r} stands here twice")
        return Branch([Item(key, value) for key, value in pairs])

    def number(digits: str) -> int | float:
        if len(digits) > _LONGEST:
            raise wrong(name, "", "a number of more digits than any program reads")
        whole = int(digits)
        return whole if INT_MIN <= whole <= INT_MAX else float(digits)

    try:
        value = json.loads(text, object_pairs_hook=branch, parse_int=number)
    except json.JSONDecodeError as error:
        raise wrong(name, f"{error.lineno}:{error.colno}", f"not JSON: {error.msg}") from None
    if not isinstance(value, Branch):
        raise wrong(name, "1:1", "an object ({…}) is expected here")
    if seen > MAX_VALUES:
        raise wrong(name, "", f"more than {MAX_VALUES} values")
    return value


def _depth(text: str) -> int:
    """How deep brackets nest outside of strings."""
    deepest = depth = 0
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text):
        if found[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif found[0] in "]}":
            depth -= 1
    return deepest


def emit_json(branch: Branch) -> str:
    """The text, indented by tabs as SOPS does it."""
    return json.dumps(plain(branch), indent="\t", ensure_ascii=False) + "\n"


def parse_env(text: str, name: str) -> Branch:
    r"""The lines ``KEY=value`` of a dotenv file; ``\n`` in a value is a line's end."""
    branch = Branch()
    known: set[str] = set()
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#"):
            branch.entries.append(Comment(line[1:]))
        elif line:
            key, equals, value = line.partition("=")
            if not equals:
                raise wrong(name, f"{number}:1", "a line of a dotenv file reads KEY=value")
            if key in known:
                raise wrong(name, f"{number}:1", f"{key!r} stands here twice")
            known.add(key)
            branch.entries.append(Item(key, value.replace("\\n", "\n"), f"{number}:1"))
        if len(known) > MAX_VALUES:
            raise wrong(name, f"{number}:1", f"more than {MAX_VALUES} values")
    return branch


def emit_env(branch: Branch, name: str) -> str:
    """The text. Raises ConfigError for what a line cannot hold."""
    lines = []
    for entry in branch.entries:
        if isinstance(entry, Comment):
            lines.append(f"#{entry.text}\n")
            continue
        if isinstance(entry.value, (Branch, list)):
            raise wrong(name, "", f"{entry.key}: a dotenv file holds plain values only")
        value = _env_value(entry.value)
        if "=" in entry.key or "\n" in entry.key or entry.key.startswith("#") or not entry.key:
            raise wrong(name, "", f"{entry.key!r} is no name for a dotenv file")
        if "\\n" in value:
            raise wrong(name, "", f"{entry.key}: a dotenv file cannot hold a backslash before an n")
        lines.append(f"{entry.key}={value}\n".replace("\n", "\\n", value.count("\n")))
    return "".join(lines)


def _env_value(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def lifted(branch: Branch) -> tuple[Branch, Branch | None]:
    """The values of a dotenv file, and what its ``sops_…`` keys say, as the nested tree it was."""
    values = Branch()
    flat: dict[str, Any] = {}
    for entry in branch.entries:
        if isinstance(entry, Item) and entry.key.startswith(_PREFIX):
            flat[entry.key.removeprefix(_PREFIX)] = entry.value
        else:
            values.entries.append(entry)
    if not flat:
        return values, None
    return values, tree_of(_nested(flat))


def _nested(flat: dict[str, Any]) -> Any:
    """``age__list_0__map_enc`` becomes ``{"age": [{"enc": …}]}``."""
    whole: dict[str, Any] = {}
    for key, value in flat.items():
        steps = _STEP.split(key)[::2][: MAX_DEPTH + 1]
        here = whole
        for step in steps[:-1]:
            inner = here.setdefault(step, {})
            here = inner if isinstance(inner, dict) else {}
        here[steps[-1]] = value
    return _listed(whole)


def _listed(value: Any) -> Any:
    """Mappings whose keys are 0, 1, 2 … are lists."""
    if not isinstance(value, dict):
        return value
    inner = {k: _listed(v) for k, v in value.items()}
    if inner and all(k.isdecimal() for k in inner):
        return [inner[k] for k in sorted(inner, key=int)]
    return inner


def lowered(values: Branch, sops: Branch) -> Branch:
    """The other way round."""
    flat = Branch(list(values.entries))
    flat.entries += [Item(_PREFIX + key, value) for key, value in _flattened(plain(sops), "")]
    return flat


def _flattened(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        glue = f"{path}__map_" if path else ""
        return [f for k, v in value.items() for f in _flattened(v, f"{glue}{k}")]
    if isinstance(value, list):
        return [f for i, v in enumerate(value) for f in _flattened(v, f"{path}__list_{i}")]
    return [(path, value)]
