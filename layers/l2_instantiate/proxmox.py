"""A provider of kind ``proxmox``, as machines see it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, field_validator

from lab.model import proxmox
from lab.model.units import Duration


class ProxmoxProvider(proxmox.Proxmox):
    """A provider of kind ``proxmox``, with what only machines need of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    cpu_type: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = Field(
        default="x86-64-v2-AES", description="what a machine's processors look like to it"
    )
    boot_deadline: Duration | None = Field(
        default=None, description="how long a machine may take to start; 4m"
    )
    backend: dict[str, dict[str, str | int | bool]] | None = Field(
        default=None,
        description="where tofu keeps its state, in its own words; left out: this lab's state",
        examples=[{"s3": {"bucket": "lab", "key": "lab/{host}.tfstate"}}],
    )
    mirror: str | None = Field(
        default=None, description="a folder with tofu's providers, where there is no registry"
    )

    @field_validator("backend")
    @classmethod
    def _one_backend(cls, backend: Any) -> Any:
        if backend is not None and len(backend) != 1:
            raise ValueError("name one backend: backend: {s3: {bucket: lab, key: lab/{host}}}")
        texts = [v for words in (backend or {}).values() for v in words.values()]
        if backend is not None and not any(isinstance(t, str) and "{host}" in t for t in texts):
            raise ValueError(
                "each host has a state of its own: write {host} into what tells them apart, like "
                "key: 'lab/{host}.tfstate'"
            )
        return backend

    @field_validator("mirror")
    @classmethod
    def _whole_path(cls, mirror: str | None) -> str | None:
        if mirror is not None and not mirror.startswith(("/", "~/")):
            raise ValueError(f"{mirror!r}: write the whole path, from / or ~/")
        return None if mirror is None else str(Path(mirror).expanduser())
