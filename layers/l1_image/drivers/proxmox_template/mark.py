"""What a template's description says: for people, and for us whose it is and how far it got."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

_LINE = re.compile(r"^strata: (\{.*\})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose template a VM is.

    Attributes:
        lab: The lab's name.
        template: The template's.
        storage: Where its disk lies.
        vmid: The VM that is meant: a clone that somebody made of it has the same description.
        ready: It is finished: what says less is half made, whatever it looks like.
        captured: The capture that it is made of, ``"web1@1a2b3c4d"``; ``""``: it is built.
        cleaned: Of such a one: what makes it itself is seen to be gone from its disk.
    """

    lab: str
    template: str
    storage: str
    vmid: int
    ready: bool = False
    captured: str = ""
    cleaned: bool = False

    @property
    def text(self) -> str:
        """The description."""
        return (
            f"The template {self.template} of the lab {self.lab}. Strata made it, and knows it by "
            f"the next line: please leave it.\n\nstrata: {json.dumps(self._words())}\n"
        )

    def _words(self) -> dict[str, object]:
        """What is so of every template, and of this one."""
        return {k: v for k, v in asdict(self).items() if v or k not in {"captured", "cleaned"}}


def read(description: object) -> Mark | None:
    """The mark in a VM's description; ``None``: it is not ours."""
    found = _LINE.search(str(description or ""))
    try:
        told = json.loads(found[1]) if found else {}
        lab, template, storage = (str(told[key]) for key in ("lab", "template", "storage"))
        return Mark(
            lab,
            template,
            storage,
            int(told["vmid"]),
            ready=told["ready"] is True,
            captured=str(told.get("captured", "")),
            cleaned=told.get("cleaned") is True,
        )
    except (ValueError, KeyError, TypeError):
        return None
