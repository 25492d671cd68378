"""The note on an archive of ours: for people, and for us whose it is and whether it may go."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace

_FOUND = re.compile(r"strata: (\{[^{}]*\})\s*$")


@dataclass(frozen=True, slots=True)
class Note:
    """One line. ``retired``: no capture needs the archive any more."""

    lab: str
    host: str
    id: str
    retired: bool = False

    @property
    def text(self) -> str:
        """The line; no template of vzdump's notes takes a word of it for a variable."""
        words = json.dumps(asdict(self), sort_keys=True)
        return f"The boot disk of {self.host} (lab {self.lab}), captured by Strata. strata: {words}"

    def retire(self) -> Note:
        """The same, of an archive that may go."""
        return replace(self, retired=True)


def read(text: str) -> Note | None:
    """The note that an archive carries; ``None``: it is not ours."""
    found = _FOUND.search(text)
    try:
        told = json.loads(found[1]) if found else {}
        lab, host, id_ = (str(told[key]) for key in ("lab", "host", "id"))
        return Note(lab, host, id_, told.get("retired") is True)
    except (ValueError, KeyError, TypeError):
        return None
