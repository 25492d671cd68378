"""``repositories`` behind https need the certificates that tell them from impostors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layers.l3_system.spec import System

NAME = "repositories"


def expand(system: System) -> Mapping[str, Any]:
    """The package ca-certificates where any address needs it; the repositories are a kind."""
    uris = [uri for r in system.repositories.values() for uri in r.uris]
    return {"packages": ["ca-certificates"]} if any("https://" in uri for uri in uris) else {}
