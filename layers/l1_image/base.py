"""Where an image starts: a Debian suite that is built here, or a cloud image that is fetched."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, WithJsonSchema, model_validator

SUITES = {"debian-13": "trixie", "debian-12": "bookworm"}
"""Bases that are built here, by their names in personas."""

_ALIASES = {suite: base for base, suite in SUITES.items()}
_CHECKSUM = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")
_MORE = re.compile(r"[^a-z0-9]+")


class Section(BaseModel):
    """What users write: nothing in it is ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Base(Section):
    """Where an image starts: a Debian suite built here, or a cloud image that is downloaded."""

    suite: str = ""
    url: str = ""
    checksum: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        if isinstance(value, str):
            name = _ALIASES.get(value, value)
            if name not in SUITES:
                known = ", ".join(SUITES)
                raise ValueError(
                    f"{value!r} is not a base: write one of {known}, or {{url: …, checksum: …}}"
                )
            return {"suite": name}
        if isinstance(value, dict) and not value.get("suite"):
            lacking = [k for k in ("url", "checksum") if not isinstance(value.get(k), str)]
            if lacking:
                raise ValueError(f"a cloud image is {{url: …, checksum: …}}: no {lacking[0]}")
        return value

    @model_validator(mode="after")
    def _is_one(self) -> Base:
        if self.suite:
            if self.suite not in SUITES or self.url or self.checksum:
                raise ValueError(
                    "a base is a suite or a cloud image: write the suite as plain text"
                )
            return self
        if urlsplit(self.url).scheme not in {"http", "https", "file", ""} or not self.url:
            raise ValueError(f"{self.url!r} is neither an http(s) address nor a path of a file")
        if urlsplit(self.url).scheme == "" and not self.url.startswith("/"):
            raise ValueError(f"{self.url!r}: write the whole path of the file, from /")
        if urlsplit(self.url).username is not None:
            raise ValueError("an address holds no user or password: anybody can read it here")
        if not _CHECKSUM.match(self.checksum):
            raise ValueError(
                "a checksum is written sha256: and 64 hex digits (or sha512: and 128), "
                "as the image's publisher lists it"
            )
        return self

    @property
    def name(self) -> str:
        """``"debian-13"``, or the file's name without its ending."""
        if self.suite:
            return self.suite
        stem = urlsplit(self.url).path.rsplit("/", 1)[-1].lower()
        for ending in (".qcow2", ".img", ".raw"):
            stem = stem.removesuffix(ending)
        return _MORE.sub("-", stem).strip("-")[:40] or "image"


BaseField = Annotated[
    Base,
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [*SUITES, *_ALIASES]},
                {
                    "type": "object",
                    "properties": {
                        "url": {"type": "string"},
                        "checksum": {"type": "string", "pattern": "^sha(256|512):[0-9a-f]+$"},
                    },
                    "required": ["url", "checksum"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
