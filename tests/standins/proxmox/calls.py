"""A call as an answer sees it, what it may return or raise, and the register of answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .access import Identity
    from .world import World


class ApiError(Exception):
    """The API says no: the text becomes the reason phrase and the message."""

    def __init__(
        self, text: str, status: int = 500, errors: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.errors = dict(errors) if errors else None


def refused(**errors: str) -> ApiError:
    """A 400 with its map of errors, as parameter checks inside a method raise it."""
    named = {key.replace("_", "-"): text for key, text in errors.items()}
    return ApiError("Parameter verification failed.", 400, named)


def forbidden(path: str, *privileges: str) -> ApiError:
    """A 403 that names the path and the privileges of which one would do."""
    return ApiError(f"Permission check failed ({path}, {'|'.join(privileges)})", 403)


@dataclass(frozen=True)
class Upload:
    """A file that came in a form."""

    filename: str
    path: str
    size: int


@dataclass(frozen=True)
class Answer:
    """An answer's data and what stands beside it (`total`, `changes`)."""

    data: Any
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """One request that has passed authentication, permission and validation."""

    world: World
    who: Identity
    parameters: Mapping[str, Any]
    upload: Upload | None = None
    path: str = ""

    def __getitem__(self, key: str) -> str:
        return str(self.parameters[key])

    def get(self, key: str, default: str | None = None) -> str | None:
        """A parameter, or what to take where it is not given."""
        value = self.parameters.get(key)
        return default if value is None else str(value)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """A boolean parameter."""
        value = self.parameters.get(key)
        return default if value is None else str(value) == "1"

    def number(self, key: str, default: int | None = None) -> int | None:
        """An integer parameter."""
        value = self.parameters.get(key)
        return default if value is None else int(str(value))

    @property
    def vmid(self) -> int:
        """The guest that the path names."""
        return int(self["vmid"])

    def may(self, path: str, *privileges: str) -> bool:
        """Has the caller one of these privileges there?"""
        return self.world.access.may(self.who, path, *privileges)

    def need(self, path: str, *privileges: str) -> None:
        """Refuse unless the caller has every one of these privileges there."""
        for privilege in privileges:
            if not self.may(path, privilege):
                raise forbidden(path, privilege)

    def need_any(self, path: str, *privileges: str) -> None:
        """Refuse unless the caller has one of these privileges there."""
        if not self.may(path, *privileges):
            raise forbidden(path, *privileges)


Answering = Callable[[Call], Any]
ANSWERS: dict[tuple[str, str], Answering] = {}


def answers(verb: str, *paths: str) -> Callable[[Answering], Answering]:
    """Register the answer to a verb of these paths."""

    def register(answering: Answering) -> Answering:
        for path in paths:
            ANSWERS[verb, path] = answering
        return answering

    return register
