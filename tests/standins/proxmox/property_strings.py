"""Property strings: `a,key=b` taken apart, put together, and lists as the API splits them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


class FormatError(ValueError):
    """The value is not of its format; the text is the API's own and ends its line itself."""


def split_list(value: str) -> list[str]:
    """The parts of a list as the API splits it: at commas, semicolons, spaces and NULs."""
    if "\0" in value:
        return value.split("\0")
    return [part for part in re.split(r"[,;\s]+", value.strip()) if part]


def split_property_string(description: Mapping[str, Any], value: str) -> dict[str, str]:
    """`a,key=b` as a dictionary, aliases resolved; raises FormatError."""
    found: dict[str, str] = {}
    default = None
    for part in re.sub(r",+$", "", value).split(","):
        if not part.strip():
            continue
        if named := re.fullmatch(r"([^=]+)=(.+)", part, re.DOTALL):
            _put_named(description, found, named[1], named[2])
        elif "=" in part:
            raise FormatError("missing key in comma-separated list property\n")
        else:
            if default:
                raise FormatError(f"duplicate key in comma-separated list property: {default}\n")
            default = next((k for k, one in description.items() if one.get("default_key")), None)
            if default is None:
                raise FormatError("value without key, but schema does not define a default key\n")
            if found.get(default):
                raise FormatError(f"duplicate key in comma-separated list property: {default}\n")
            found[default] = part
    return found


def print_property_string(description: Mapping[str, Any], values: Mapping[str, str]) -> str:
    """The same, written as the API writes it: the default key first and bare, the rest sorted."""
    default = next((k for k, one in description.items() if one.get("default_key")), None)
    parts = [values[default]] if default and default in values else []
    parts += [f"{key}={values[key]}" for key in sorted(values) if key != default]
    return ",".join(parts)


def _put_named(description: Mapping[str, Any], found: dict[str, str], key: str, value: str) -> None:
    if key in found:
        raise FormatError(f"duplicate key in comma-separated list property: {key}\n")
    schema = description.get(key) or {}
    if alias := schema.get("alias"):
        if key_alias := schema.get("keyAlias"):
            if key_alias in found:
                raise FormatError(f"key alias '{key_alias}' is already defined\n")
            found[key_alias] = key
        key = alias
        schema = description.get(key) or {}
    if schema.get("type") == "boolean":
        lowered = value.lower()
        if lowered in {"1", "on", "yes", "true"}:
            value = "1"
        elif lowered in {"0", "off", "no", "false"}:
            value = "0"
    found[key] = value
