"""``locale``: the package, a line of locale.gen each, and the default in both of its places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from layers.l3_system.spec import System

NAME = "locale"


def expand(system: System) -> Mapping[str, Any]:
    """What is generated stays so when the package is upgraded: it reads locale.gen."""
    locale = system.locale
    if locale is None:
        return {}
    out: dict[str, Any] = {}
    if locale.generated:
        out["packages"] = ["locales"]
        out["lines"] = {
            "/etc/locale.gen": {
                name: {"line": f"{name} UTF-8", "match": rf"^#? *{re.escape(name)} UTF-8 *$"}
                for name in locale.generated
            }
        }
    if locale.default is not None:
        out["files"] = {"/etc/locale.conf": {"content": f"LANG={locale.default}\n"}}
        out["links"] = {"/etc/default/locale": "../locale.conf"}
    return out
