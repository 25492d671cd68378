"""How far the stand-in agrees with the real API: over its verdicts and over recorded exchanges.

The data lies beside the checkout in `../shared/pve`, not in it; where it is absent there is nothing
to compare with, and whoever asks is told so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[5] / "shared" / "pve"


@dataclass(frozen=True)
class Miss:
    """One thing that the stand-in says otherwise."""

    where: str
    aspect: str
    real: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.where}: {self.aspect}: real {self.real!r}, ours {self.ours!r}"


@dataclass
class Score:
    """How many of each aspect agree, and every miss."""

    agreed: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    misses: list[Miss] = field(default_factory=list)

    def count(self, aspect: str, misses: list[Miss]) -> None:
        """One comparison of an aspect, with what was missed in it."""
        self.asked[aspect] = self.asked.get(aspect, 0) + 1
        self.agreed[aspect] = self.agreed.get(aspect, 0) + (not misses)
        self.misses += misses

    def share(self, aspect: str) -> float:
        """The part that agrees, from 0 to 1."""
        return self.agreed[aspect] / self.asked[aspect]


def lines(name: str) -> Iterator[dict[str, Any]]:
    """The records of a file of the data; raises FileNotFoundError where there is none."""
    with (DATA / name).open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
