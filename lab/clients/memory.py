"""The world of the memory drivers: one small JSON file for each host, layer and part.

It outlives the process, so that a lab of memory hosts behaves like a real one from run to run.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote


class Store:
    """Values by (layer, host, part). Every write is whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, layer: str, host: str, part: str = "") -> dict[str, Any] | None:
        """What was put there, or ``None``."""
        try:
            text = self._path(layer, host, part).read_bytes()
        except FileNotFoundError:
            return None
        value: dict[str, Any] = json.loads(text)
        return value

    def put(self, layer: str, host: str, value: dict[str, Any], part: str = "") -> None:
        """Keep ``value`` there."""
        path = self._path(layer, host, part)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{threading.get_ident()}.new")
        new.write_text(json.dumps(value))
        os.replace(new, path)  # noqa: PTH105 (the atomic one, by its name)

    def drop(self, layer: str, host: str, part: str = "") -> None:
        """Forget it; nothing there is fine."""
        self._path(layer, host, part).unlink(missing_ok=True)

    def _path(self, layer: str, host: str, part: str) -> Path:
        return self._folder / layer / f"{quote(host, safe='')}+{quote(part, safe='')}.json"
