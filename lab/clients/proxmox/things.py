"""What the API lists, as values: numbers as numbers, whatever it makes of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SEPARATORS = re.compile(r"[;, ]+")


@dataclass(frozen=True, slots=True)
class Vm:
    """A row of ``/cluster/resources``: a machine, a container or a template.

    A new one has ``status`` ``"unknown"`` and no name for the first seconds.
    """

    vmid: int
    kind: str
    node: str
    name: str
    status: str
    is_template: bool
    tags: frozenset[str]
    pool: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Vm:
        """From the API's row."""
        return cls(
            vmid=int(row["vmid"]),
            kind=str(row.get("type", "qemu")),
            node=str(row.get("node", "")),
            name=str(row.get("name", "")),
            status=str(row.get("status", "unknown")),
            is_template=str(row.get("template", 0)) == "1",
            tags=tags(row.get("tags")),
            pool=str(row.get("pool", "")),
        )


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage as one node sees it; sizes in bytes."""

    name: str
    kind: str
    content: frozenset[str]
    is_active: bool
    is_shared: bool
    free: int
    total: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Storage:
        """From the API's row."""
        return cls(
            name=str(row["storage"]),
            kind=str(row.get("type", "")),
            content=frozenset(str(row.get("content", "")).split(",")) - {""},
            is_active=str(row.get("active", 0)) == "1" and str(row.get("enabled", 1)) == "1",
            is_shared=str(row.get("shared", 0)) == "1",
            free=int(row.get("avail") or 0),
            total=int(row.get("total") or 0),
        )


@dataclass(frozen=True, slots=True)
class Volume:
    """Something on a storage: ``name`` is ``local:import/x.qcow2``.

    Of a backup also: the first line of its notes, when it was made (seconds since the epoch), and
    what a backup server found when it last read it (``"ok"``, ``"failed"``; ``""``: it has not),
    and by which task of its own.
    """

    name: str
    size: int
    vmid: int | None
    parent: str
    notes: str = ""
    protected: bool = False
    made: float = 0.0
    verified: str = ""
    verified_by: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Volume:
        """From the API's row."""
        vmid, verification = row.get("vmid"), row.get("verification")
        found = verification if isinstance(verification, Mapping) else {}
        return cls(
            name=str(row["volid"]),
            size=int(row.get("size") or 0),
            vmid=None if vmid is None else int(vmid),
            parent=str(row.get("parent") or ""),
            notes=str(row.get("notes") or ""),
            protected=str(row.get("protected", 0)) == "1",
            made=float(row.get("ctime") or 0),
            verified=str(found.get("state") or ""),
            verified_by=str(found.get("upid") or ""),
        )


def tags(value: object) -> frozenset[str]:
    """A machine's tags, however they are separated."""
    return frozenset(t.lower() for t in _SEPARATORS.split(str(value or "")) if t)
