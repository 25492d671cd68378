"""Writing ``promoted.yaml``: whole or not at all, and only what the lab can be loaded with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.api import yaml_text
from lab.config.promoted import NAME
from lab.config.tree import Node, parse
from lab.errors import ConfigError, LabError, Problem

_HEAD = """\
# What new machines of a persona are made from. `lab image promote` writes this file (comments of
# yours do not survive that); commit it. Machines that exist stay as they are until `lab rebuild`.
"""


def put(
    root: Path, entries: Mapping[str, Mapping[str, str] | None], check: Callable[[], None]
) -> None:
    """Lay ``image: ENTRY`` over each persona, or take it away (``None``).

    ``check`` loads the lab as it is then; where it raises, the file is as it was before. Raises
    ConfigError and LabError.
    """
    path = root / NAME
    before = _read(path)
    document = _parsed(before)
    for persona, entry in entries.items():
        sections = {k: v for k, v in document.get(persona, {}).items() if k != "image"}
        if entry is not None:
            sections["image"] = dict(entry)
        document[persona] = sections
    left = {persona: sections for persona, sections in sorted(document.items()) if sections}
    _write(path, _HEAD + yaml_text.block(left) if left else None)
    try:
        check()
    except BaseException:
        _write(path, before)
        raise


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"Unable to read {path}: {error}.") from error


def _parsed(text: str | None) -> dict[str, Any]:
    node, problems = parse(text or "{}", NAME)
    if problems or node is None or not isinstance(node.value, dict):
        raise ConfigError(problems)
    tagged = [n for n in _nodes(node) if n.tag]
    if tagged:
        what = f"{tagged[0].tag} would be lost when this file is written: take it out"
        raise ConfigError([Problem(str(tagged[0].place), what)])
    return {name: _plain(one) or {} for name, one in node.value.items()}


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    inner = node.value.values() if isinstance(node.value, dict) else node.value
    for one in inner if isinstance(inner, Iterable) and not isinstance(inner, str) else ():
        yield from _nodes(one)


def _plain(node: Node) -> Any:
    """The value, its strings without their places."""
    if isinstance(node.value, dict):
        return {str(key): _plain(one) for key, one in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(one) for one in node.value]
    return str(node.value) if isinstance(node.value, str) else node.value


def _write(path: Path, text: str | None) -> None:
    try:
        if text is None:
            path.unlink(missing_ok=True)
            return
        new = path.with_name(f".{path.name}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        with suppress(OSError):
            path.with_name(f".{path.name}.new").unlink(missing_ok=True)
        raise LabError(
            f"Unable to write {path}: {error.strerror or error}.", hint=f"ls -ld {path.parent}"
        ) from error
