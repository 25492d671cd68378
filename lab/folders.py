"""Where this user keeps things: the XDG base directories. A value that is not absolute is none.

And what makes a change of a folder last.
"""

from __future__ import annotations

import os
from pathlib import Path


def folder(variable: str, fallback: Path) -> Path:
    """What the environment says, else ``fallback``."""
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else fallback


def state() -> Path:
    """What must outlive a reboot and belongs to this machine."""
    return folder("XDG_STATE_HOME", Path.home() / ".local/state")


def cache() -> Path:
    """What may be deleted at any time."""
    return folder("XDG_CACHE_HOME", Path.home() / ".cache")


def config() -> Path:
    """What the user has set."""
    return folder("XDG_CONFIG_HOME", Path.home() / ".config")


def data() -> Path:
    """What is the user's own."""
    return folder("XDG_DATA_HOME", Path.home() / ".local/share")


def flush(place: Path) -> None:
    """Let what was just renamed, linked or removed in a folder outlive a power cut."""
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
