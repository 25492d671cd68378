"""pydantic's complaints in plain words, at the place in the user's file, with the nearest word."""

from __future__ import annotations

import types
import typing
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lab.config.tree import Node
from lab.errors import Problem
from lab.model.later import Later
from lab.model.secret import SecretName

_KIND = {
    "string_type": "text is expected here",
    "int_type": "a whole number is expected here",
    "int_parsing": "a whole number is expected here",
    "int_from_float": "a whole number is expected here",
    "float_type": "a number is expected here",
    "float_parsing": "a number is expected here",
    "bool_type": "true or false is expected here",
    "bool_parsing": "true or false is expected here",
    "dict_type": "a mapping (key: value) is expected here",
    "model_type": "a mapping (key: value) is expected here",
    "model_attributes_type": "a mapping (key: value) is expected here",
    "list_type": "a list is expected here",
    "tuple_type": "a list is expected here",
    "set_type": "a list is expected here",
    "frozen_set_type": "a list is expected here",
}


def suggest(word: str, known: typing.Iterable[str]) -> str:
    """``"; did you mean 'memory'?"`` where a known word is near, else the few there are."""
    words = [str(k) for k in known]
    near = get_close_matches(word, words, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f" (known: {', '.join(sorted(words))})" if 0 < len(words) <= 12 else ""  # noqa: PLR2004


def problems_of(
    error: ValidationError, model: type[BaseModel], tree: Node, *, partial: bool = False
) -> list[Problem]:
    """Every mistake, one a place: of a value that fits no variant only the nearest is told.

    ``partial``: the tree may be half of something, so that what is missing is no mistake.
    """
    found: dict[str, Problem] = {}
    for detail in error.errors(include_url=False, include_context=True):
        if partial and detail["type"] == "missing":
            continue
        path = tuple(detail["loc"])
        place = str(tree.find(path))
        found.setdefault(place, Problem(place, _say(detail, path, model)))
    return list(found.values())


def _say(detail: ErrorDetails, path: tuple[str | int, ...], model: type[BaseModel]) -> str:
    if isinstance(detail["input"], SecretName) and detail["type"] != "extra_forbidden":
        word = next((p for p in reversed(path) if isinstance(p, str)), "this")
        return f"{word} cannot be a secret: it is shown, and kept in clear"
    return _mistake(detail, path, model)


def _mistake(detail: ErrorDetails, path: tuple[str | int, ...], model: type[BaseModel]) -> str:
    kind, value = detail["type"], detail["input"]
    last = next((str(p) for p in reversed(path) if isinstance(p, str)), "")
    context: dict[str, Any] = detail.get("ctx") or {}
    if kind == "extra_forbidden":
        name = str(path[-1])
        return f"unknown key {name!r}{suggest(name, _keys_at(model, path[:-1]))}"
    if kind == "missing":
        return f"{path[-1]!r} is missing"
    if kind in {"literal_error", "enum"}:
        words = [
            w.strip().strip("'")
            for w in str(context.get("expected", "")).replace(" or ", ",").split(",")
        ]
        return f"{_shown(value)} is not a {last}{suggest(str(value), words)}"
    if kind == "union_tag_invalid":
        words = [w.strip().strip("'") for w in str(context.get("expected_tags", "")).split(",")]
        tag = str(context.get("tag", ""))
        return f"{tag!r} is not known here{suggest(tag, words)}"
    if kind == "union_tag_not_found":
        return f"{str(context.get('discriminator', 'kind')).strip(chr(39))!r} is missing"
    if kind in _KIND:
        return f"{_KIND[kind]}, not {_shown(value)}" if value is not None else f"{_KIND[kind]}"
    message = detail["msg"]
    for prefix in ("Value error, ", "Assertion failed, "):
        message = message.removeprefix(prefix)
    if kind in {"value_error", "assertion_error"}:
        return message
    return f"{last}: {message[:1].lower()}{message[1:]}" if last else message


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return repr(text if len(text) < 60 else f"{text[:57]}...")  # noqa: PLR2004


def _keys_at(model: type[BaseModel], path: tuple[str | int, ...]) -> set[str]:
    """The keys that are known at ``path`` of the model's tree."""
    here: list[Any] = [model]
    for step in path:
        here = [n for kind in here for n in _step(kind, step)]
    return {f.alias or name for m in _models(here) for name, f in m.model_fields.items()}


def _models(kinds: list[Any]) -> list[type[BaseModel]]:
    return [
        m
        for kind in kinds
        for m in _unfold(kind)
        if isinstance(m, type) and issubclass(m, BaseModel)
    ]


def _unfold(kind: Any) -> list[Any]:
    """The variants behind Annotated, unions and optionals."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        first, *about = typing.get_args(kind)
        named = next((a for a in about if isinstance(a, Later)), None)
        return _unfold(first if named is None else named.model)
    if origin in {typing.Union, types.UnionType}:
        return [u for a in typing.get_args(kind) for u in _unfold(a)]
    return [kind]


def _step(kind: Any, step: str | int) -> list[Any]:
    found: list[Any] = []
    for variant in _unfold(kind):
        if isinstance(variant, type) and issubclass(variant, BaseModel):
            for name, field in variant.model_fields.items():
                if step in {name, field.alias}:
                    found.append(field.rebuild_annotation())
            if step == variant.__name__:
                found.append(variant)
        else:
            args = typing.get_args(variant)
            if args:
                found.append(args[-1] if args[-1] is not Ellipsis else args[0])
    if not found and isinstance(step, str):  # the name of a variant in pydantic's path: stay
        return [kind]
    return found
