"""``sudoers``: files in /etc/sudoers.d that visudo has checked before they count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layers.l3_system.spec import System
from layers.l3_system.spec.accounts import Sudoers

NAME = "sudoers"
FOLDER = "/etc/sudoers.d"


def expand(system: System) -> Mapping[str, Any]:
    """One file a name, readable by root alone; and sudo itself."""
    if not system.sudoers:
        return {}
    return {
        "packages": ["sudo"],
        "files": {f"{FOLDER}/{name}": _file(rules) for name, rules in system.sudoers.items()},
    }


def _file(rules: Sudoers) -> dict[str, Any]:
    content = rules.content if rules.content is None else f"{rules.content.rstrip()}\n"
    origin = {"content": content, "template": rules.template, "source": rules.source}
    return {
        **{k: v for k, v in origin.items() if v is not None},
        "mode": "0440",
        "validate": "visudo -cf %s",
    }
