"""Strata: a layered convergence engine for home labs, as a library.

    from lab import Lab

    with Lab.load(".") as lab:
        report = lab.converge("host=web1", on_event=print)

``docs/embed.md`` tells the whole of it in ten lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.api import Approval, Lab

__all__ = ["Approval", "Lab", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the front door only when somebody comes in: ``lab --help`` does not need it."""
    if name in {"Approval", "Lab"}:
        from lab import api  # noqa: PLC0415 (that is the point)

        return getattr(api, name)
    raise AttributeError(f"module 'lab' has no attribute {name!r}")
