"""Templates in an engine: images that carry our labels, one name a template, one tag a lab.

strata/<template>:<lab>     the same image may have the tags of several labs
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from lab.clients.docker import Engine, Refused
from lab.model.baseline import Baseline
from lab.model.mark import HOST, LAB, TEMPLATE
from layers.l1_image.spec import Definition, Spec

_RECORD = "strata.record"
_REPOSITORY = "strata/"


@dataclass(frozen=True, slots=True)
class Kept:
    """One template that is there: what it was made from, what it holds, bytes."""

    name: str
    definition: Definition
    baseline: Baseline
    size: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """All templates of one lab in one engine."""

    engine: Engine
    lab: str

    def reference(self, name: str) -> str:
        """How the engine calls that template."""
        return f"{_REPOSITORY}{name}:{self.lab}"

    def find(self, name: str) -> Kept | None:
        """That template; ``None`` where there is none, or something that is not ours."""
        found = self._image(self.reference(name))
        return None if found is None else _kept(name, found)

    def is_taken(self, name: str) -> bool:
        """Whether something of that name is there, whosever it is."""
        return self._image(self.reference(name)) is not None

    def take_along(self, name: str) -> bool:
        """Give our tag to the same template of another lab; whether there was one."""
        query = {"filters": {"label": [f"{TEMPLATE}={name}"]}}
        for found in self.engine.get("/images/json", query, doing="list the images") or ():
            image = self._image(found["Id"])
            if image is not None and _kept(name, image) is not None:
                where = {"repo": f"{_REPOSITORY}{name}", "tag": self.lab}
                doing = f"tag the template {name}"
                self.engine.post(f"/images/{found['Id']}/tag", where, doing=doing)
                return True
        return False

    def put(self, spec: Spec, baseline: Baseline, archive: Iterable[bytes], init: str) -> None:
        """Make an image of a tree in a tar archive: all at once or not at all."""
        labels = {
            LAB: self.lab,
            TEMPLATE: spec.name,
            "strata.recipe": str(spec.definition.recipe),
            _RECORD: _packed(spec.definition, baseline),
        }
        changes = [f'LABEL {key}="{value}"' for key, value in labels.items()]
        query = {
            "fromSrc": "-",
            "repo": f"{_REPOSITORY}{spec.name}",
            "tag": self.lab,
            "changes": [*changes, f'CMD ["{init}"]', "ENV container=docker"],
        }
        doing = f"build the template {spec.name}"
        said = self.engine.send("POST", "/images/create", query, archive, doing=doing)
        for line in said.splitlines():
            told = json.loads(line)
            if "error" in told:
                raise Refused(f"Unable to {doing}: {str(told['error']).rstrip('.')}.")

    def all(self) -> Iterator[Kept]:
        """Every template that has our tag."""
        query = {"filters": {"label": [TEMPLATE]}}
        for found in self.engine.get("/images/json", query, doing="list the images") or ():
            for tag in found.get("RepoTags") or ():
                name = tag.removeprefix(_REPOSITORY).removesuffix(f":{self.lab}")
                if tag == self.reference(name) and (kept := self.find(name)) is not None:
                    yield kept

    def users(self, name: str) -> frozenset[str]:
        """Hosts of this lab whose containers were made from it."""
        labels = [f"{LAB}={self.lab}", f"{TEMPLATE}={name}"]
        query = {"all": True, "filters": {"label": labels}}
        found = self.engine.get("/containers/json", query, doing="list the containers") or ()
        return frozenset(c["Labels"].get(HOST, "") for c in found)

    def used_by(self, host: str) -> Kept | None:
        """The template that this host's container was made from, where it is still there."""
        query = {"all": True, "filters": {"label": [f"{LAB}={self.lab}", f"{HOST}={host}"]}}
        for found in self.engine.get("/containers/json", query, doing="list the containers") or ():
            kept = self.find(found["Labels"].get(TEMPLATE, ""))
            if kept is not None:
                return kept
        return None

    def drop(self, name: str) -> None:
        """Take our tag off; the image goes with its last tag, unless somebody runs it."""
        self.engine.delete(f"/images/{self.reference(name)}", doing=f"remove the template {name}")

    def _image(self, reference: str) -> dict[str, Any] | None:
        if not reference.removeprefix(_REPOSITORY).partition(":")[0]:
            return None
        found: dict[str, Any] | None = self.engine.get(
            f"/images/{reference}/json", doing="look at the templates"
        )
        return found


def _packed(definition: Definition, baseline: Baseline) -> str:
    """One word of plain letters: labels on the way into an engine are parsed as a Dockerfile is."""
    record = {"definition": definition.model_dump(mode="json"), "baseline": baseline.model_dump()}
    return base64.b64encode(zlib.compress(json.dumps(record).encode(), 9)).decode()


def _kept(name: str, image: dict[str, Any]) -> Kept | None:
    labels = image["Config"].get("Labels") or {}
    if labels.get(TEMPLATE) != name:
        return None
    try:
        record = json.loads(zlib.decompress(base64.b64decode(labels.get(_RECORD, ""))))
        definition = Definition.model_validate(record["definition"])
        baseline = Baseline.model_validate(record["baseline"])
    except (ValueError, KeyError, TypeError, zlib.error, ValidationError):
        return None
    return Kept(name, definition, baseline, int(image.get("Size", 0)))
