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


class Later(ModuleType):
    """A module whose functions and classes may be handed on before it is imported.

    It is imported when one of them is called, or asked for an attribute. They are stand-ins: good
    for calling and for a class's own methods, not for ``isinstance``.
    """

    def __getattr__(self, name: str) -> _Standin:
        """What stands for it until then."""
        return _Standin(self.__name__, name)


class _Standin:
    def __init__(self, module: str, name: str) -> None:
        self.__module, self.__name = module, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(self.__module), self.__name)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(importlib.import_module(self.__module), self.__name), name)
