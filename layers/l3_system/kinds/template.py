"""Jinja2 templates of the lab, rendered here: sandboxed, and strict about what is not defined."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lab.model.secret import Secret

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


class _Vars(dict[str, Any]):
    """The free values; a secret among them is shown by ``show`` when the template asks for it."""

    def __init__(self, values: Mapping[str, Any], show: Callable[[Secret], str]) -> None:
        super().__init__(values)
        self._show = show

    def __getitem__(self, key: str) -> Any:
        return self._shown(super().__getitem__(key))

    def get(self, key: str, default: Any = None) -> Any:
        return self._shown(super().get(key, default))

    def values(self) -> list[Any]:  # type: ignore[override]
        return [self[key] for key in self]

    def items(self) -> list[tuple[str, Any]]:  # type: ignore[override]
        return [(key, self[key]) for key in self]

    def _shown(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: self._shown(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._shown(v) for v in value]
        return self._show(value) if isinstance(value, Secret) else value


def render(text: str, place: Place) -> str:
    """The text with ``host.name``, ``host.persona``, ``host.address``, ``host.tags``, ``vars``.

    Secrets stand in it by their names. Raises ValueError, with the template's line where it is
    known.
    """
    return _rendered(text, place, str)


def revealed(text: str, place: Place) -> tuple[str, bool]:
    """The same with the values of those secrets that it uses; whether it uses any.

    Raises ValueError, and LabError where a secret cannot be had.
    """
    used: list[Secret] = []

    def show(secret: Secret) -> str:
        used.append(secret)
        return secret.reveal()

    return _rendered(text, place, show), bool(used)


def _rendered(text: str, place: Place, show: Callable[[Secret], str]) -> str:
    variables = _Vars(place.vars, show)
    host: dict[str, Any] = {
        "name": place.name,
        "persona": place.persona,
        "address": place.address,
        "tags": sorted(place.tags),
        "vars": variables,
    }
    from jinja2 import TemplateError  # noqa: PLC0415

    try:
        return _compiled(text).render(host=host, vars=variables)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f" in its line {line}" if line else ""
        raise ValueError(f"the template does not render{where}: {error.message}") from error
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"the template does not render: {error}") from error
