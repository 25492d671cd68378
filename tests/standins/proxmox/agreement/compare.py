"""Two answers side by side: the same shape, and the same values where values are stable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# Keys whose values belong to one machine or one moment.
_OF_THE_MOMENT = {
    "avail", "cpu", "ctime", "digest", "disk", "endtime", "free", "idle", "loadavg", "mhz",
    "mem", "pid", "pstart", "snaptime", "ssl_fingerprint", "starttime", "total_bytes", "uptime",
    "upid", "used", "used_fraction", "vmgenid", "wait", "netin", "netout", "memhost",
}  # fmt: skip
# What a node says of its own hardware and kernel.
_OF_THE_MACHINE = {
    "boot-info", "cpuinfo", "current-kernel", "kversion", "memory", "rootfs", "swap", "ksm",
}  # fmt: skip
_MACHINE_SIZES = {"maxcpu", "maxdisk", "maxmem", "total"}
_MASKS = (
    (re.compile(r"UPID:[^\s'\"]+"), "UPID"),
    (re.compile(r"\b(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}\b"), "MAC"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\bgot '[0-9a-f]{64}'"), "got 'SUM'"),
    (re.compile(r"\bctime=\d+"), "ctime=N"),
    (re.compile(r"tmp_dwnl\.\d+"), "tmp_dwnl.N"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "TIME"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"[\d.]+ [KMG]?B/s"), "SPEED"),
    (re.compile(r"100% +\S+=0s"), "100% SPEED"),
    (re.compile(r"fe80::[0-9a-f:]+"), "LINKLOCAL"),
)
_NAMES = ("volid", "key", "id", "upid", "name", "iface", "storage", "poolid", "vmid", "n")


def shape(real: Any, ours: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where keys, kinds or lengths differ."""
    if _kind(real) != _kind(ours):
        yield path, _kind(real), _kind(ours)
    elif isinstance(real, dict):
        if set(real) != set(ours):
            missing, extra = sorted(set(real) - set(ours)), sorted(set(ours) - set(real))
            yield path, f"without {extra}" if extra else "", f"without {missing}" if missing else ""
        for key in set(real) & set(ours):
            yield from shape(real[key], ours[key], f"{path}.{key}")
    elif isinstance(real, list):
        if len(real) != len(ours):
            yield path, f"{len(real)} items", f"{len(ours)} items"
        for number, (one, other) in enumerate(zip(_ordered(real), _ordered(ours), strict=False)):
            yield from shape(one, other, f"{path}[{number}]")


def values(real: Any, ours: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where stable values differ, in what both have."""
    if isinstance(real, dict) and isinstance(ours, dict):
        for key in sorted(set(real) & set(ours) - _unstable(real)):
            one, other = real[key], ours[key]
            if key == "content":  # a set, written in the order of a hash
                one, other = sorted(str(one).split(",")), sorted(str(other).split(","))
            yield from values(one, other, f"{path}.{key}")
    elif isinstance(real, list) and isinstance(ours, list):
        for number, (one, other) in enumerate(zip(_ordered(real), _ordered(ours), strict=False)):
            if isinstance(one, dict) and one.get("key") in _OF_THE_MOMENT:
                continue
            yield from values(one, other, f"{path}[{number}]")
    elif masked(real) != masked(ours):
        yield path, real, ours


def _unstable(real: dict[str, Any]) -> set[str]:
    of_machine = real.get("type") in {"node", "storage", "dir"}
    return _OF_THE_MOMENT | _OF_THE_MACHINE | (_MACHINE_SIZES if of_machine else set())


def masked(value: Any) -> Any:
    """A value without what belongs to the moment."""
    if isinstance(value, str):
        for pattern, word in _MASKS:
            value = pattern.sub(word, value)
    return value


def _kind(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return "number"
    return {type(None): "null", str: "text", dict: "object", list: "list"}[type(value)]


def _ordered(items: list[Any]) -> list[Any]:
    """Items of a list by name: the real lists come in the order of a hash."""
    if not all(isinstance(one, dict) for one in items):
        return items
    for name in _NAMES:
        if items and all(name in one for one in items):
            if name == "upid":
                return items  # newest first, and the order means something
            return sorted(items, key=lambda one: (str(type(one[name])), one[name]))
    return items
