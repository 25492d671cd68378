"""Modules that are imported on first use: what one command needs, another need not wait for."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class Lazy(ModuleType):
    """A module that is imported when its first attribute is asked for.

    Used in the other branch of ``if TYPE_CHECKING:``, so that type checkers and the import
    contracts see a plain import.
    """

    def __getattr__(self, name: str) -> Any:
        """The real module's attribute."""
        return getattr(importlib.import_module(self.__name__), name)
