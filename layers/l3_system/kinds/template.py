"""Jinja2 templates of the lab, rendered here: sandboxed, and strict about what is not defined."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

    from layers.l3_system.kinds.kind import Place


def digest(content: bytes) -> str:
    """SHA-256 in hex, as sha256sum prints it."""
    return hashlib.sha256(content).hexdigest()


@functools.lru_cache(maxsize=256)
def _compiled(text: str) -> Template:
    from jinja2 import StrictUndefined  # noqa: PLC0415 (only labs with templates pay for it)
    from jinja2.sandbox import SandboxedEnvironment  # noqa: PLC0415

    environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(text)


def render(text: str, place: Place) -> str:
    """The text with ``host.name``, ``host.persona``, ``host.address``, ``host.tags``, ``vars``.

    Raises ValueError, with the template's line where it is known.
    """
    host: dict[str, Any] = {
        "name": place.name,
        "persona": place.persona,
        "address": place.address,
        "tags": sorted(place.tags),
        "vars": dict(place.vars),
    }
    from jinja2 import TemplateError  # noqa: PLC0415

    try:
        return _compiled(text).render(host=host, vars=host["vars"])
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f" in its line {line}" if line else ""
        raise ValueError(f"the template does not render{where}: {error.message}") from error
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"the template does not render: {error}") from error
