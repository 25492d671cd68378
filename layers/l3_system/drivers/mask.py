"""Takes secrets out of what other tools say."""

from __future__ import annotations

from collections.abc import Mapping

_SECRET_LINE = 8


class Mask:
    """Replaces values of secrets by their names, whole or line by line."""

    def __init__(self, revealed: Mapping[str, str]) -> None:
        self._names = {
            spelled: name
            for name, value in revealed.items()
            for spelled in {value.strip(), *_long_lines(value)}
            if spelled
        }

    def hits(self, text: str) -> bool:
        """Whether a secret stands in it."""
        return any(value in text for value in self._names)

    def __call__(self, text: str) -> str:
        """The text with the names of secrets in their places."""
        for value in sorted(self._names, key=len, reverse=True):
            text = text.replace(value, f"(secret {self._names[value]})")
        return text


def _long_lines(value: str) -> list[str]:
    """A key of several lines is a secret line by line."""
    return [line for line in value.splitlines() if len(line) >= _SECRET_LINE]
