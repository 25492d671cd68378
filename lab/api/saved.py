"""A plan in a file: applied exactly, or refused because the world or the lab moved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.engine.approval import Key
from lab.errors import LabError, Stale
from lab.masking import masked
from lab.model.outcome import RunReport
from lab.model.plan import Plan, digest, plan_from_json, to_json

SCHEMA = "lab.plan/1"


@dataclass(frozen=True)
class SavedPlan:
    """A plan that can be approved now and applied later.

    Attributes:
        lab: The lab's name.
        layer: The layer it goes to, short (``"l3"``), or ``None`` for all.
        through: Whether layers below are acted on.
        adopt: Whether what is not ours may be taken over.
        hosts: The hosts it is about.
        plans: Every part's plan.
        sources: A digest of what was declared when it was made.
    """

    lab: str
    layer: str | None
    through: bool
    adopt: bool
    hosts: tuple[str, ...]
    plans: Mapping[Key, Plan]
    sources: str

    def document(self) -> dict[str, Any]:
        """Its JSON form; no secret is in it."""
        body = {
            "schema": SCHEMA,
            "lab": self.lab,
            "layer": self.layer,
            "through": self.through,
            "adopt": self.adopt,
            "hosts": list(self.hosts),
            "sources": self.sources,
            "parts": [
                {"host": h, "layer": layer, "part": part, "plan": masked(to_json(plan))}
                for (h, layer, part), plan in self.plans.items()
            ],
        }
        return {**body, "digest": digest(body)}

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        new = path.with_name(f".{path.name}.new")
        new.write_text(json.dumps(self.document(), indent=1) + "\n", encoding="utf-8")
        new.replace(path)

    @classmethod
    def read(cls, path: Path) -> SavedPlan:
        """The plan in that file. Raises LabError where it is none, Stale where it was edited."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            body = {k: v for k, v in document.items() if k != "digest"}
            if document["schema"] != SCHEMA:
                raise ValueError(f"its schema is {document['schema']}, not {SCHEMA}")  # noqa: TRY301
            plans = {
                (p["host"], p["layer"], p["part"]): plan_from_json(p["plan"])
                for p in document["parts"]
            }
        except OSError as error:
            raise LabError(
                f"Unable to read the plan {path}: {error.strerror}.", hint=f"lab plan --out {path}"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LabError(
                f"Unable to read the plan {path}: it is not a saved plan ({error}).",
                hint=f"lab plan --out {path}",
            ) from error
        if document.get("digest") != digest(body):
            raise Stale(
                f"Unable to apply the plan {path}: it was changed after it was made.",
                hint=f"lab plan --out {path}",
            )
        return cls(
            lab=document["lab"],
            layer=document["layer"],
            through=document["through"],
            adopt=document["adopt"],
            hosts=tuple(document["hosts"]),
            plans=plans,
            sources=document["sources"],
        )


def plans_of(report: RunReport) -> dict[Key, Plan]:
    """The plans of a report that may be applied exactly."""
    return {(p.host, p.layer, p.part): p.plan for p in report.parts}
