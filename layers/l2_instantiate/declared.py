"""What users write about machines."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Declared(BaseModel):
    """Something a user writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
