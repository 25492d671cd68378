"""Are these the parameters that a method takes? Word for word as the real validator says it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from . import formats, property_strings
from .described import DESCRIBED
from .schema import Method

Errors = dict[str, str]

UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
MISSING = "property is missing and it is not optional"

_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(?:\d+\.\d+|\d+\.|\.\d+|\d+)(?:[eE][+-]?\d+)?")

_WRITTEN = {"boolean": re.compile("[01]"), "integer": _INTEGER, "number": _NUMBER}


def errors_of(method: Method, parameters: Mapping[str, Any]) -> Errors:
    """What is wrong, by parameter; empty where all is well."""
    errors: Errors = {}
    check_object("", method.properties, parameters, errors, additional=method.additional)
    return errors


def check_object(
    path: str,
    properties: Mapping[str, Any],
    value: Mapping[str, Any],
    errors: Errors,
    *,
    additional: bool = False,
) -> None:
    """Hold an object to its description, every fault at once."""
    for key, schema in properties.items():
        if key in value or not (schema.get("optional") or schema.get("alias")):
            _check(value.get(key), schema, f"{path}.{key}" if path else key, errors)
    for key in value:
        where = f"{path}.{key}" if path else key
        if key not in properties:
            if not additional:
                _add(errors, where, UNKNOWN)
            continue
        required = properties[key].get("requires")
        if isinstance(required, str) and value.get(required) is None:
            _add(
                errors,
                f"{path}.{required}" if path else required,
                f"missing property required by '{where}'",
            )


def _check(value: Any, schema: Mapping[str, Any], path: str, errors: Errors) -> None:
    if value is None:
        if not schema.get("optional") and not schema.get("alias"):
            _add(errors, path, MISSING)
        return
    if fault := _type_fault(schema.get("type"), value):
        _add(errors, path, fault)
        return
    if isinstance(value, list):
        for index, one in enumerate(value):
            _check(one, schema.get("items") or {}, f"{path}[{index}]", errors)
    elif isinstance(value, dict):
        check_object(path, schema.get("properties") or {}, value, errors, additional=True)
    elif fault := _scalar_fault(_text(value), schema, path):
        _add(errors, path, fault)


def _scalar_fault(value: str, schema: Mapping[str, Any], path: str) -> str | None:
    if declared := schema.get("format"):
        try:
            _check_format(declared, value, path)
        except property_strings.FormatError as fault:
            return f"invalid format - {fault}"
    if (pattern := schema.get("pattern")) and not _expression(pattern).fullmatch(value):
        return "value does not match the regex pattern"
    if (most := schema.get("maxLength")) is not None and len(value) > int(most):
        return f"value may only be {most} characters long"
    if (least := schema.get("minLength")) is not None and len(value) < int(least):
        return f"value must be at least {least} characters long"
    if _NUMBER.fullmatch(value):
        if (most := schema.get("maximum")) is not None and float(value) > float(most):
            return f"value must have a maximum value of {most}"
        if (least := schema.get("minimum")) is not None and float(value) < float(least):
            return f"value must have a minimum value of {least}"
    choices = schema.get("enum")
    if choices and value not in [str(one) for one in choices]:
        named = ", ".join(str(one) for one in choices)
        return f"value '{value}' does not have a value in the enumeration '{named}'"
    return None


def _type_fault(declared: Any, value: Any) -> str | None:
    if not declared or declared == "any":
        return None
    if isinstance(declared, list):
        if any(_type_fault(one, value) is None for one in declared):
            return None
        return f"type check ('{'|'.join(declared)}') failed"
    if declared in {"array", "object"}:
        wanted = list if declared == "array" else dict
        return None if isinstance(value, wanted) else f"type check ('{declared}') failed"
    if isinstance(value, list | dict):
        kind = "ARRAY" if isinstance(value, list) else "HASH"
        return f"type check ('{declared}') failed - got {kind}"
    text = _text(value)
    wanted_text = _WRITTEN.get(declared)
    if wanted_text and not wanted_text.fullmatch(text):
        return f"type check ('{declared}') failed - got '{text}'"
    return None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return str(value)


def _add(errors: Errors, path: str, text: str) -> None:
    # The real one joins two faults with a backslash and an n, not with a line's end.
    errors[path] = f"{errors[path]}\\n{text}" if path in errors else text


def _check_format(declared: Any, value: str, path: str) -> None:
    if isinstance(declared, str):
        described = DESCRIBED.get(declared)
        if described is None:
            formats.check_named(declared, value)
            return
        check_property_string(described, value, path)
        if extra := formats.AFTERWARDS.get(declared):
            extra(value)
        return
    check_property_string(declared, value, path)


def check_property_string(description: Mapping[str, Any], value: str, path: str) -> None:
    """Hold `key=value,...` to its description; raises FormatError."""
    found = property_strings.split_property_string(description, value)
    errors: Errors = {}
    check_object(path, description, found, errors)
    if errors:
        # One fault a line; a fault that itself ends a line leaves an empty one behind it.
        lines = "".join(f"{key}: {text}\n" for key, text in errors.items())
        raise property_strings.FormatError(f"format error\n{lines}")


@functools.cache
def _expression(pattern: str) -> re.Pattern[str]:
    """A Perl expression as Python reads it; `(?^:...)` is what a compiled one prints as."""
    mended = pattern
    for flags in ("i", "x", "s", "m"):
        mended = mended.replace(f"(?^{flags}:", f"(?{flags}:")
    mended = mended.replace("(?^:", "(?:").replace("{,", "{0,").replace("\\/", "/")
    return re.compile(mended, re.ASCII)
