"""``certificate_authorities`` need the tool that makes them count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layers.l3_system.spec import System

NAME = "certificate_authorities"


def expand(system: System) -> Mapping[str, Any]:
    """The package ca-certificates; the authorities themselves are a kind."""
    return {"packages": ["ca-certificates"]} if system.certificate_authorities else {}
